using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Remove locks: they count who uses a device, and let its removal wait for them.</summary>
/// <remarks>
/// A driver passes the size of the structure it was compiled with: 0x20, or 0x78 with debugging information, which like a free
/// build of Windows nobody here looks at (RMLOCK-08).
/// </remarks>
public sealed class RemoveLocks
{
    readonly Machine machine;

    internal RemoveLocks(Machine machine) => this.machine = machine;

    /// <summary>Prepares a lock. IRQL = PASSIVE_LEVEL. (RMLOCK-01)</summary>
    /// <param name="MaxLockedMinutes">For checked builds; ignored.</param>
    /// <param name="HighWatermark">For checked builds; ignored.</param>
    /// <param name="RemlockSize">Bytes of the caller's IO_REMOVE_LOCK.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoInitializeRemoveLockEx(PIO_REMOVE_LOCK Lock, uint AllocateTag, uint MaxLockedMinutes, uint HighWatermark, uint RemlockSize)
    {
        GuestMemory.Write(Lock.Address, checked((int)RemlockSize)).Clear();
        Lock.Common.Removed = false;
        Lock.Common.IoCount = 1;
        machine.Dispatcher.KeInitializeEvent(RemoveEventOf(Lock), EVENT_TYPE.SynchronizationEvent, false);
    }

    /// <summary>Counts a user of the device. IRQL &lt;= DISPATCH_LEVEL. (RMLOCK-02)</summary>
    /// <returns>STATUS_DELETE_PENDING once removal has begun; nothing is to be released then.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS IoAcquireRemoveLockEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, PVOID File, uint Line, uint RemlockSize)
    {
        Interlocked.Increment(ref RemoveLock.Common.IoCount);
        if (!RemoveLock.Common.Removed) return NTSTATUS.STATUS_SUCCESS;
        Decrement(RemoveLock);
        return NTSTATUS.STATUS_DELETE_PENDING;
    }

    /// <summary>Gives an acquisition back; the last one lets a waiting removal go on. IRQL &lt;= DISPATCH_LEVEL. (RMLOCK-03)</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoReleaseRemoveLockEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, uint RemlockSize) => Decrement(RemoveLock);

    /// <summary>
    /// Begins removal: gives back the caller's acquisition, and waits until nobody uses the device. IRQL = PASSIVE_LEVEL. (RMLOCK-04)
    /// </summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void IoReleaseRemoveLockAndWaitEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, uint RemlockSize)
    {
        RemoveLock.Common.Removed = true;
        Decrement(RemoveLock);
        // The second one is the bias that kept the count above zero while the device was there.
        if (Interlocked.Decrement(ref RemoveLock.Common.IoCount) > 0)
            machine.Dispatcher.KeWaitForSingleObject(RemoveEventOf(RemoveLock), KWAIT_REASON.Executive, MODE.KernelMode, false, null);
    }

    void Decrement(PIO_REMOVE_LOCK removeLock)
    {
        if (Interlocked.Decrement(ref removeLock.Common.IoCount) == 0)
            machine.Dispatcher.KeSetEvent(RemoveEventOf(removeLock), 0, false);
    }

    static PKEVENT RemoveEventOf(PIO_REMOVE_LOCK removeLock) => new(removeLock.Address + 8);
}
