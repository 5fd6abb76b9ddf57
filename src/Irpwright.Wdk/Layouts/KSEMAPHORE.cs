using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Counting semaphore; the count is the header's SignalState.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KSEMAPHORE
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public DISPATCHER_HEADER Header;
    [FieldOffset(0x18)] public int Limit;
}
