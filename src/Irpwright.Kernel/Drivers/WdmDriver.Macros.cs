using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <remarks>
/// What the WDK's headers define as a call of an exported routine. Written over the driver's own methods, so that observers see the
/// same calls as of a compiled driver.
/// </remarks>
public abstract partial class WdmDriver
{
    /// <summary>Acquires a lock and raises to DISPATCH_LEVEL. IRQL &lt;= DISPATCH_LEVEL.</summary>
    protected void KeAcquireSpinLock(PKSPIN_LOCK SpinLock, out byte OldIrql) => OldIrql = KeAcquireSpinLockRaiseToDpc(SpinLock);

    /// <summary>Raises the IRQL. <paramref name="NewIrql"/> must not be below the current one.</summary>
    protected void KeRaiseIrql(byte NewIrql, out byte OldIrql) => OldIrql = KfRaiseIrql(NewIrql);

    /// <summary>Another name of KeWaitForSingleObject.</summary>
    /// <inheritdoc cref="KeWaitForSingleObject"/>
    protected NTSTATUS KeWaitForMutexObject(PKMUTANT Mutex, KWAIT_REASON WaitReason, MODE WaitMode, BOOLEAN Alertable, long? Timeout) =>
        KeWaitForSingleObject(Mutex, WaitReason, WaitMode, Alertable, Timeout);

    /// <summary>Prepares a fast mutex that nobody owns. IRQL &lt;= DISPATCH_LEVEL.</summary>
    protected void ExInitializeFastMutex(PFAST_MUTEX FastMutex)
    {
        FastMutex.Value = new FAST_MUTEX { Count = 1 };
        KeInitializeEvent(PKEVENT.To(ref FastMutex.Event), EVENT_TYPE.SynchronizationEvent, false);
    }

    /// <summary>The header's name for <see cref="ExAcquirePushLockExclusiveEx"/> without flags.</summary>
    protected void ExAcquirePushLockExclusive(PEX_PUSH_LOCK Lock) => ExAcquirePushLockExclusiveEx(Lock, 0);

    /// <summary>The header's name for <see cref="ExAcquirePushLockSharedEx"/> without flags.</summary>
    protected void ExAcquirePushLockShared(PEX_PUSH_LOCK Lock) => ExAcquirePushLockSharedEx(Lock, 0);

    /// <summary>The header's name for <see cref="ExReleasePushLockExclusiveEx"/> without flags.</summary>
    protected void ExReleasePushLockExclusive(PEX_PUSH_LOCK Lock) => ExReleasePushLockExclusiveEx(Lock, 0);

    /// <summary>The header's name for <see cref="ExReleasePushLockSharedEx"/> without flags.</summary>
    protected void ExReleasePushLockShared(PEX_PUSH_LOCK Lock) => ExReleasePushLockSharedEx(Lock, 0);

    /// <summary>The header's name for <see cref="IoInitializeRemoveLockEx"/>.</summary>
    protected void IoInitializeRemoveLock(PIO_REMOVE_LOCK Lock, uint AllocateTag, uint MaxLockedMinutes, uint HighWatermark) =>
        IoInitializeRemoveLockEx(Lock, AllocateTag, MaxLockedMinutes, HighWatermark, IO_REMOVE_LOCK.SizeOf);

    /// <summary>The header's name for <see cref="IoAcquireRemoveLockEx"/>.</summary>
    protected NTSTATUS IoAcquireRemoveLock(PIO_REMOVE_LOCK RemoveLock, PVOID Tag) =>
        IoAcquireRemoveLockEx(RemoveLock, Tag, default, 0, IO_REMOVE_LOCK.SizeOf);

    /// <summary>The header's name for <see cref="IoReleaseRemoveLockEx"/>.</summary>
    protected void IoReleaseRemoveLock(PIO_REMOVE_LOCK RemoveLock, PVOID Tag) => IoReleaseRemoveLockEx(RemoveLock, Tag, IO_REMOVE_LOCK.SizeOf);

    /// <summary>The header's name for <see cref="IoReleaseRemoveLockAndWaitEx"/>.</summary>
    protected void IoReleaseRemoveLockAndWait(PIO_REMOVE_LOCK RemoveLock, PVOID Tag) =>
        IoReleaseRemoveLockAndWaitEx(RemoveLock, Tag, IO_REMOVE_LOCK.SizeOf);
}
