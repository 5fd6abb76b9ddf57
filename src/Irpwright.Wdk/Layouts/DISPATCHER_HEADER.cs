using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>First part of every object a thread can wait for. Bytes 1 to 3 depend on the type.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DISPATCHER_HEADER
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public KOBJECTS Type;
    [FieldOffset(0x00)] public int Lock; // the four bytes as a word; bit 7 is the kernel's lock
    [FieldOffset(0x01)] public byte Signalling;
    [FieldOffset(0x02)] public byte Size; // of the whole object in units of 4 bytes
    [FieldOffset(0x03)] public byte Inserted; // timers: in the timer table
    [FieldOffset(0x04)] public int SignalState;
    [FieldOffset(0x08)] public LIST_ENTRY WaitListHead; // of KWAIT_BLOCK.WaitListEntry
}
