using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A waiter of a queued spin lock.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KSPIN_LOCK_QUEUE
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public PKSPIN_LOCK_QUEUE Next;
    [FieldOffset(0x08)] public PKSPIN_LOCK Lock;
}
