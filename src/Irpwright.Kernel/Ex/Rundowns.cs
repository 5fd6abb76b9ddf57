using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Rundown protection: an object is not taken away while somebody uses it, and nobody new gets it once it goes.</summary>
/// <remarks>Bit 0 of the reference says that rundown has begun; above it is the number of users.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/run-down-protection"/>
public sealed class Rundowns
{
    const ulong Active = 1;
    const int CountShift = 1;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, KernelThread> waiters = [];

    internal Rundowns(Machine machine) => this.machine = machine;

    /// <summary>Prepares a reference without users. Any IRQL.</summary>
    [KernelExport]
    public void ExInitializeRundownProtection(PEX_RUNDOWN_REF RunRef) => Write(RunRef, 0);

    /// <summary>Makes a reference usable again after its rundown. Any IRQL.</summary>
    [KernelExport]
    public void ExReInitializeRundownProtection(PEX_RUNDOWN_REF RunRef) => Write(RunRef, 0);

    /// <summary>Says that the rundown is over: nobody gets protection until the reference is initialised again. Any IRQL.</summary>
    [KernelExport]
    public void ExRundownCompleted(PEX_RUNDOWN_REF RunRef) => Write(RunRef, Active);

    /// <summary>Asks for protection; FALSE when rundown has begun. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExAcquireRundownProtection(PEX_RUNDOWN_REF RunRef) => ExAcquireRundownProtectionEx(RunRef, 1);

    /// <summary>The same for several users at once. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExAcquireRundownProtectionEx(PEX_RUNDOWN_REF RunRef, uint Count)
    {
        machine.Scheduler.Yield(machine.CurrentThread, SchedulingPoint.Call);
        lock (gate)
        {
            if ((RunRef.Count & Active) != 0) return false;
            RunRef.Count += (ulong)Count << CountShift;
            return true;
        }
    }

    /// <summary>Gives protection up. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseRundownProtection(PEX_RUNDOWN_REF RunRef) => ExReleaseRundownProtectionEx(RunRef, 1);

    /// <summary>The same for several users at once. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseRundownProtectionEx(PEX_RUNDOWN_REF RunRef, uint Count)
    {
        lock (gate)
        {
            RunRef.Count -= (ulong)Count << CountShift;
            if (UsersOf(RunRef) == 0 && waiters.TryGetValue(RunRef.Address, out KernelThread? waiter)) machine.Scheduler.Unblock(waiter);
        }
        machine.Dispatcher.AfterSignal(wait: false);
    }

    /// <summary>Begins rundown and waits until there are no users. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF RunRef)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        lock (gate)
        {
            RunRef.Count |= Active;
            if (UsersOf(RunRef) == 0) return;
            waiters[RunRef.Address] = thread;
        }
        machine.Dispatcher.WaitUntil(thread, () => UsersOf(RunRef) == 0, () => $"waits for the rundown of {RunRef}, which has {UsersOf(RunRef)} users");
        lock (gate) waiters.Remove(RunRef.Address);
    }

    // ---- The form that has a count for each processor in Windows: here it is a reference like any other in a block of its own.

    /// <summary>Bytes that a cache-aware reference takes. Any IRQL.</summary>
    [KernelExport]
    public ulong ExSizeOfRundownProtectionCacheAware() => EX_RUNDOWN_REF.SizeOf;

    /// <summary>Prepares a cache-aware reference in the caller's memory. Any IRQL.</summary>
    /// <param name="RunRefSize">From ExSizeOfRundownProtectionCacheAware.</param>
    [KernelExport]
    public void ExInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF RunRefCacheAware, ulong RunRefSize) => Write(RunRefCacheAware, 0);

    /// <summary>Allocates and prepares a cache-aware reference; NULL when there is no memory. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PEX_RUNDOWN_REF ExAllocateCacheAwareRundownProtection(POOL_TYPE PoolType, uint PoolTag, [Caller] ulong caller = 0) =>
        new(machine.Pool.Allocate(PoolType, EX_RUNDOWN_REF.SizeOf, PoolTag, caller, zero: true));

    /// <summary>Frees what ExAllocateCacheAwareRundownProtection allocated. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExFreeCacheAwareRundownProtection(PEX_RUNDOWN_REF RunRefCacheAware) => machine.Pool.Free(RunRefCacheAware.Address, 0);

    /// <inheritdoc cref="ExAcquireRundownProtection"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExAcquireRundownProtectionCacheAware(PEX_RUNDOWN_REF RunRefCacheAware) => ExAcquireRundownProtectionEx(RunRefCacheAware, 1);

    /// <inheritdoc cref="ExAcquireRundownProtectionEx"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExAcquireRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF RunRefCacheAware, uint Count) => ExAcquireRundownProtectionEx(RunRefCacheAware, Count);

    /// <inheritdoc cref="ExReleaseRundownProtection"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseRundownProtectionCacheAware(PEX_RUNDOWN_REF RunRefCacheAware) => ExReleaseRundownProtectionEx(RunRefCacheAware, 1);

    /// <inheritdoc cref="ExReleaseRundownProtectionEx"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExReleaseRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF RunRef, uint Count) => ExReleaseRundownProtectionEx(RunRef, Count);

    /// <inheritdoc cref="ExWaitForRundownProtectionRelease"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExWaitForRundownProtectionReleaseCacheAware(PEX_RUNDOWN_REF RunRef) => ExWaitForRundownProtectionRelease(RunRef);

    /// <inheritdoc cref="ExReInitializeRundownProtection"/>
    [KernelExport]
    public void ExReInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF RunRefCacheAware) => Write(RunRefCacheAware, 0);

    /// <inheritdoc cref="ExRundownCompleted"/>
    [KernelExport]
    public void ExRundownCompletedCacheAware(PEX_RUNDOWN_REF RunRefCacheAware) => Write(RunRefCacheAware, Active);

    static ulong UsersOf(PEX_RUNDOWN_REF runRef) => Volatile.Read(ref runRef.Count) >> CountShift;

    void Write(PEX_RUNDOWN_REF runRef, ulong value)
    {
        lock (gate) runRef.Count = value;
    }
}
