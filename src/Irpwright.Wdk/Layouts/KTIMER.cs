using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Timer object. Opaque to drivers.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KTIMER
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
    [FieldOffset(0x18)] public ulong DueTime; // 100 ns, interrupt time
    [FieldOffset(0x20)] public LIST_ENTRY TimerListEntry;
    [FieldOffset(0x30)] public PKDPC Dpc;
    [FieldOffset(0x38)] public ushort Processor;
    [FieldOffset(0x3A)] public ushort TimerType;
    [FieldOffset(0x3C)] public uint Period; // ms
}
