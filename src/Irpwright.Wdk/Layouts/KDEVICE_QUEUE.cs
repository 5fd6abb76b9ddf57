using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Queue of requests a busy device has not started.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KDEVICE_QUEUE
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public short Type; // KOBJECTS.DeviceQueueObject
    [FieldOffset(0x02)] public short Size;
    [FieldOffset(0x08)] public LIST_ENTRY DeviceListHead;
    [FieldOffset(0x18)] public KSPIN_LOCK Lock;
    [FieldOffset(0x20)] public BOOLEAN Busy; // the 7 bytes behind it are a hint of the kernel's, not padding
}
