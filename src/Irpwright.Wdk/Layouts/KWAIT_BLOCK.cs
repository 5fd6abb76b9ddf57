using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One thread waiting for one object.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KWAIT_BLOCK
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public LIST_ENTRY WaitListEntry; // in DISPATCHER_HEADER.WaitListHead
    [FieldOffset(0x10)] public byte WaitType; // WAIT_TYPE
    [FieldOffset(0x11)] public byte BlockState;
    [FieldOffset(0x12)] public ushort WaitKey; // STATUS_WAIT_0 + this is the result of the wait
    [FieldOffset(0x18)] public PKTHREAD Thread;
    [FieldOffset(0x20)] public PVOID Object;
    [FieldOffset(0x28)] public PVOID SparePtr;
}
