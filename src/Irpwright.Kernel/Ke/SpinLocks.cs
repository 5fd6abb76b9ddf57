using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Executive spin locks. A held lock contains the owner's KTHREAD address with bit 0 set, as in checked builds.</summary>
public sealed class SpinLocks
{
    readonly Machine machine;

    internal SpinLocks(Machine machine) => this.machine = machine;

    /// <summary>Makes a lock free. Any IRQL.</summary>
    [KernelExport]
    public void KeInitializeSpinLock(PKSPIN_LOCK SpinLock) => GuestMemory.Ref<ulong>(SpinLock.Address) = 0;

    /// <summary>Acquires a lock, raises to DISPATCH_LEVEL and returns the previous IRQL. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public byte KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock)
    {
        byte previous = machine.Irqls.Raise(machine.CurrentThread, DISPATCH_LEVEL);
        Acquire(SpinLock);
        return previous;
    }

    /// <summary>Releases a lock and returns to <paramref name="NewIrql"/>. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void KeReleaseSpinLock(PKSPIN_LOCK SpinLock, byte NewIrql)
    {
        Release(SpinLock);
        machine.Irqls.Lower(machine.CurrentThread, NewIrql);
    }

    /// <summary>Acquires a lock at DISPATCH_LEVEL or above.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock) => Acquire(SpinLock);

    /// <summary>Releases a lock without changing the IRQL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock) => Release(SpinLock);

    /// <summary>Tries to acquire a lock at DISPATCH_LEVEL or above.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
    {
        KernelThread thread = machine.CurrentThread;
        if (Interlocked.CompareExchange(ref GuestMemory.Ref<ulong>(SpinLock.Address), Held(thread), 0) != 0) return false;
        machine.Events.Emit(new SpinLockAcquired(SpinLock, thread));
        return true;
    }

    /// <summary>TRUE if the lock is free. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN KeTestSpinLock(PKSPIN_LOCK SpinLock) => Volatile.Read(ref GuestMemory.Ref<ulong>(SpinLock.Address)) == 0;

    /// <summary>Acquires a lock in a threaded DPC, which may run below DISPATCH_LEVEL; returns the previous IRQL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public byte KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock) => KeAcquireSpinLockRaiseToDpc(SpinLock);

    /// <summary>Releases what KeAcquireSpinLockForDpc acquired. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, byte OldIrql) => KeReleaseSpinLock(SpinLock, OldIrql);

    /// <summary>Acquires a lock and raises to SYNCH_LEVEL; returns the previous IRQL.</summary>
    [KernelExport(MaxIrql = SYNCH_LEVEL)]
    public byte KeAcquireSpinLockRaiseToSynch(PKSPIN_LOCK SpinLock)
    {
        byte previous = machine.Irqls.Raise(machine.CurrentThread, SYNCH_LEVEL);
        Acquire(SpinLock);
        return previous;
    }

    // ---- In-stack queued spin locks: the handle is the caller's place in the queue, and keeps what the release needs.

    /// <summary>Acquires a lock and raises to DISPATCH_LEVEL. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="LockHandle">Memory of the caller, not shared with anybody, until the release.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
    {
        byte previous = machine.Irqls.Raise(machine.CurrentThread, DISPATCH_LEVEL);
        KeAcquireInStackQueuedSpinLockAtDpcLevel(SpinLock, LockHandle);
        LockHandle.OldIrql = previous;
    }

    /// <summary>Releases a lock and returns to the IRQL before its acquisition. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle)
    {
        byte previous = LockHandle.OldIrql;
        Release(LockHandle.LockQueue.Lock);
        machine.Irqls.Lower(machine.CurrentThread, previous);
    }

    /// <summary>Acquires a lock at DISPATCH_LEVEL or above.</summary>
    /// <inheritdoc cref="KeAcquireInStackQueuedSpinLock"/>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
    {
        LockHandle.LockQueue = new KSPIN_LOCK_QUEUE { Lock = SpinLock };
        Acquire(SpinLock);
    }

    /// <summary>Releases a lock without changing the IRQL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle) => Release(LockHandle.LockQueue.Lock);

    /// <summary>Acquires a lock in a threaded DPC, which may run below DISPATCH_LEVEL. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="KeAcquireInStackQueuedSpinLock"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle) =>
        KeAcquireInStackQueuedSpinLock(SpinLock, LockHandle);

    /// <summary>Releases what KeAcquireInStackQueuedSpinLockForDpc acquired. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle) => KeReleaseInStackQueuedSpinLock(LockHandle);

    static ulong Held(KernelThread thread) => thread.Object.Address | 1;

    internal void Acquire(PKSPIN_LOCK spinLock)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        ref ulong value = ref GuestMemory.Ref<ulong>(spinLock.Address);
        ulong owner;
        while ((owner = Interlocked.CompareExchange(ref value, Held(thread), 0)) != 0)
        {
            if (owner == Held(thread))
            {
                throw machine.BugChecks.Stop(BugCheckCode.SPIN_LOCK_ALREADY_OWNED, spinLock.Address, 0, 0, 0,
                    $"{thread} acquires the spin lock at {Format.Address(spinLock.Address)}, which it already holds: it would spin for ever.");
            }
            machine.Scheduler.Spin(thread, spinLock.Address);
        }
        machine.Events.Emit(new SpinLockAcquired(spinLock, thread));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Release(PKSPIN_LOCK spinLock)
    {
        ref ulong value = ref GuestMemory.Ref<ulong>(spinLock.Address);
        if (value == 0) NotOwned(spinLock);
        machine.Events.Emit(new SpinLockReleased(spinLock, machine.CurrentThread));
        Volatile.Write(ref value, 0);
    }

    void NotOwned(PKSPIN_LOCK spinLock) =>
        throw machine.BugChecks.Stop(BugCheckCode.SPIN_LOCK_NOT_OWNED, spinLock.Address, 0, 0, 0,
            $"The spin lock at {Format.Address(spinLock.Address)} is released, but nobody holds it.");
}
