using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Deferred procedure call.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KDPC
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public KOBJECTS Type; // DpcObject or ThreadedDpcObject
    [FieldOffset(0x00)] public uint TargetInfoAsUlong;
    [FieldOffset(0x01)] public byte Importance; // KDPC_IMPORTANCE
    [FieldOffset(0x02)] public ushort Number; // target processor
    [FieldOffset(0x08)] public SINGLE_LIST_ENTRY DpcListEntry;
    [FieldOffset(0x10)] public ulong ProcessorHistory;
    [FieldOffset(0x18)] public PKDEFERRED_ROUTINE DeferredRoutine;
    [FieldOffset(0x20)] public PVOID DeferredContext;
    [FieldOffset(0x28)] public PVOID SystemArgument1;
    [FieldOffset(0x30)] public PVOID SystemArgument2;
    [FieldOffset(0x38)] public PVOID DpcData; // not null while queued
}
