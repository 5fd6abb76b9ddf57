using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Spin locks that one may hold exclusively or several share (EX_SPIN_LOCK).</summary>
/// <remarks>
/// The lock is 32 bits: how many share it, bit 31 for an exclusive holder, bit 30 for one that waits, before whom nobody new shares it.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/reader-writer-spin-locks"/>
public sealed class SharedSpinLocks
{
    const uint Exclusive = 0x8000_0000;
    const uint ExclusiveWaits = 0x4000_0000;

    readonly Machine machine;

    internal SharedSpinLocks(Machine machine) => this.machine = machine;

    /// <summary>Raises to DISPATCH_LEVEL, acquires a lock to share it, and returns the previous IRQL. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public byte ExAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock)
    {
        byte previous = machine.Irqls.Raise(machine.CurrentThread, DISPATCH_LEVEL);
        ExAcquireSpinLockSharedAtDpcLevel(SpinLock);
        return previous;
    }

    /// <summary>Raises to DISPATCH_LEVEL, acquires a lock exclusively, and returns the previous IRQL. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public byte ExAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
    {
        byte previous = machine.Irqls.Raise(machine.CurrentThread, DISPATCH_LEVEL);
        ExAcquireSpinLockExclusiveAtDpcLevel(SpinLock);
        return previous;
    }

    /// <summary>Acquires a lock to share it. IRQL &gt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        while (!TryShare(SpinLock)) machine.Scheduler.Spin(thread, SpinLock.Address, Exclusive | ExclusiveWaits);
        Acquired(SpinLock);
    }

    /// <summary>Acquires a lock exclusively. IRQL &gt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        while (!TryOwn(SpinLock))
        {
            Interlocked.Or(ref StateOf(SpinLock), ExclusiveWaits);
            machine.Scheduler.Spin(thread, SpinLock.Address, ~ExclusiveWaits);
        }
        Acquired(SpinLock);
    }

    /// <summary>Acquires a lock to share it if that needs no spinning. IRQL &gt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExTryAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock) => Tried(SpinLock, TryShare(SpinLock));

    /// <summary>Acquires a lock exclusively if that needs no spinning. IRQL &gt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExTryAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock) => Tried(SpinLock, TryOwn(SpinLock));

    /// <summary>Makes the caller, who shares a lock, its exclusive holder if nobody else shares it. IRQL &gt;= DISPATCH_LEVEL.</summary>
    /// <returns>FALSE, and the lock still shared, otherwise.</returns>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
    {
        ref uint state = ref StateOf(SpinLock);
        uint waits = Volatile.Read(ref state) & ExclusiveWaits;
        return Interlocked.CompareExchange(ref state, Exclusive | waits, 1 | waits) == (1 | waits);
    }

    /// <summary>Gives up a shared lock and returns to <paramref name="OldIrql"/>. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, byte OldIrql)
    {
        ExReleaseSpinLockSharedFromDpcLevel(SpinLock);
        machine.Irqls.Lower(machine.CurrentThread, OldIrql);
    }

    /// <summary>Gives up an exclusively held lock and returns to <paramref name="OldIrql"/>. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, byte OldIrql)
    {
        ExReleaseSpinLockExclusiveFromDpcLevel(SpinLock);
        machine.Irqls.Lower(machine.CurrentThread, OldIrql);
    }

    /// <summary>Gives up a shared lock without changing the IRQL. IRQL &gt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock)
    {
        if ((StateOf(SpinLock) & ~(Exclusive | ExclusiveWaits)) == 0) NotHeld(SpinLock, "shared");
        Released(SpinLock);
        Interlocked.Decrement(ref StateOf(SpinLock));
    }

    /// <summary>Gives up an exclusively held lock without changing the IRQL. IRQL &gt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL)]
    public void ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock)
    {
        if ((StateOf(SpinLock) & Exclusive) == 0) NotHeld(SpinLock, "held exclusively");
        Released(SpinLock);
        Interlocked.And(ref StateOf(SpinLock), ~Exclusive);
    }

    static ref uint StateOf(PEX_SPIN_LOCK spinLock) => ref GuestMemory.Ref<uint>(spinLock.Address);

    static bool TryShare(PEX_SPIN_LOCK spinLock)
    {
        ref uint state = ref StateOf(spinLock);
        uint seen;
        while (((seen = Volatile.Read(ref state)) & (Exclusive | ExclusiveWaits)) == 0)
        {
            if (Interlocked.CompareExchange(ref state, seen + 1, seen) == seen) return true;
        }
        return false;
    }

    // Who gets it takes the mark of those that wait away; the others set it again.
    static bool TryOwn(PEX_SPIN_LOCK spinLock)
    {
        ref uint state = ref StateOf(spinLock);
        uint waits = Volatile.Read(ref state) & ExclusiveWaits;
        return Interlocked.CompareExchange(ref state, Exclusive, waits) == waits;
    }

    bool Tried(PEX_SPIN_LOCK spinLock, bool acquired)
    {
        if (acquired) Acquired(spinLock);
        return acquired;
    }

    void Acquired(PEX_SPIN_LOCK spinLock) => machine.Events.Emit(new SpinLockAcquired(new PKSPIN_LOCK(spinLock.Address), machine.CurrentThread));

    void Released(PEX_SPIN_LOCK spinLock) => machine.Events.Emit(new SpinLockReleased(new PKSPIN_LOCK(spinLock.Address), machine.CurrentThread));

    void NotHeld(PEX_SPIN_LOCK spinLock, string how) =>
        throw machine.BugChecks.Stop(BugCheckCode.SPIN_LOCK_NOT_OWNED, spinLock.Address, 0, 0, 0,
            $"The spin lock at {spinLock} is released, but it is not {how}.");
}
