using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Queue a thread can wait for.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KQUEUE
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
    [FieldOffset(0x18)] public LIST_ENTRY EntryListHead;
    [FieldOffset(0x28)] public uint CurrentCount; // threads at work
    [FieldOffset(0x2C)] public uint MaximumCount;
    [FieldOffset(0x30)] public LIST_ENTRY ThreadListHead;
}
