using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Asynchronous procedure call; lies in IRP.Tail during the last stage of completion.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KAPC
{
    public const int SizeOf = 0x58;

    [FieldOffset(0x00)] public KOBJECTS Type; // ApcObject
    [FieldOffset(0x01)] public byte SpareByte0;
    [FieldOffset(0x02)] public byte Size; // bytes
    [FieldOffset(0x03)] public byte SpareByte1;
    [FieldOffset(0x04)] public uint SpareLong0;
    [FieldOffset(0x08)] public PKTHREAD Thread;
    [FieldOffset(0x10)] public LIST_ENTRY ApcListEntry;
    [FieldOffset(0x20)] public PKKERNEL_ROUTINE KernelRoutine;
    [FieldOffset(0x28)] public PKRUNDOWN_ROUTINE RundownRoutine;
    [FieldOffset(0x30)] public PKNORMAL_ROUTINE NormalRoutine;
    [FieldOffset(0x38)] public PVOID NormalContext;
    [FieldOffset(0x40)] public PVOID SystemArgument1;
    [FieldOffset(0x48)] public PVOID SystemArgument2;
    [FieldOffset(0x50)] public sbyte ApcStateIndex;
    [FieldOffset(0x51)] public MODE ApcMode;
    [FieldOffset(0x52)] public BOOLEAN Inserted;
}
