using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The once-a-second timer of a device (IoInitializeTimer). Opaque to drivers.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_TIMER
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public short Type; // IO_TYPE_TIMER
    [FieldOffset(0x02)] public short TimerFlag; // nonzero while started
    [FieldOffset(0x08)] public LIST_ENTRY TimerList;
    [FieldOffset(0x18)] public PIO_TIMER_ROUTINE TimerRoutine;
    [FieldOffset(0x20)] public PVOID Context;
    [FieldOffset(0x28)] public PDEVICE_OBJECT DeviceObject;
}
