using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A thread's place in the queue of an in-stack queued spin lock.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_klock_queue_handle"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KLOCK_QUEUE_HANDLE
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public KSPIN_LOCK_QUEUE LockQueue;
    [FieldOffset(0x10)] public byte OldIrql;
}
