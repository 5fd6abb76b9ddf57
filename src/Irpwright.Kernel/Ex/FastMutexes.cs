using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Fast mutexes and guarded mutexes: no recursion, no APCs while they are owned, no wait with a limit.</summary>
/// <remarks>Both have the same fields at the same places: a count that is 1 when the mutex is free, its owner, an object to wait for.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/fast-mutexes-and-guarded-mutexes"/>
public sealed class FastMutexes
{
    readonly Machine machine;

    internal FastMutexes(Machine machine) => this.machine = machine;

    /// <summary>Acquires a fast mutex and raises to APC_LEVEL. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="MachineHungException">The calling thread owns it already: it would wait for itself.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExAcquireFastMutex(PFAST_MUTEX FastMutex)
    {
        byte previous = machine.Irqls.Raise(machine.CurrentThread, APC_LEVEL);
        Acquire(FastMutex);
        FastMutex.OldIrql = previous;
    }

    /// <summary>Acquires a fast mutex if that needs no wait, and raises to APC_LEVEL then. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>FALSE, and the IRQL as before, when somebody owns it.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN ExTryToAcquireFastMutex(PFAST_MUTEX FastMutex)
    {
        KernelThread thread = machine.CurrentThread;
        byte previous = machine.Irqls.Raise(thread, APC_LEVEL);
        if (TryAcquire(FastMutex))
        {
            FastMutex.OldIrql = previous;
            return true;
        }
        machine.Irqls.Lower(thread, previous);
        return false;
    }

    /// <summary>Releases a fast mutex and returns to the IRQL before its acquisition. IRQL = APC_LEVEL.</summary>
    /// <exception cref="BugCheckException">KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE: the calling thread does not own it.</exception>
    [KernelExport(MinIrql = APC_LEVEL, MaxIrql = APC_LEVEL)]
    public void ExReleaseFastMutex(PFAST_MUTEX FastMutex)
    {
        byte previous = (byte)FastMutex.OldIrql;
        Release(FastMutex);
        machine.Irqls.Lower(machine.CurrentThread, previous);
    }

    /// <summary>Acquires a fast mutex for a caller that has disabled normal kernel APCs itself. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExAcquireFastMutex"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex) => Acquire(FastMutex);

    /// <summary>Releases what ExAcquireFastMutexUnsafe acquired. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExReleaseFastMutex"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExReleaseFastMutexUnsafe(PFAST_MUTEX FastMutex) => Release(FastMutex);

    /// <summary>Prepares a guarded mutex that nobody owns. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex)
    {
        Mutex.Value = new KGUARDED_MUTEX { Count = 1 };
        Dispatcher.InitializeHeader(EventOf(Mutex), (byte)KOBJECTS.GateObject, KGATE.SizeOf, 0);
    }

    /// <summary>Enters a guarded region and acquires a guarded mutex. IRQL &lt;= APC_LEVEL.</summary>
    /// <exception cref="MachineHungException">The calling thread owns it already: it would wait for itself.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
    {
        machine.Apcs.KeEnterGuardedRegion();
        Acquire(Mutex);
    }

    /// <summary>Acquires a guarded mutex if that needs no wait, and enters a guarded region then. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
    {
        machine.Apcs.KeEnterGuardedRegion();
        if (TryAcquire(Mutex)) return true;
        machine.Apcs.KeLeaveGuardedRegion();
        return false;
    }

    /// <summary>Releases a guarded mutex and leaves the guarded region. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExReleaseFastMutex"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeReleaseGuardedMutex(PKGUARDED_MUTEX Mutex)
    {
        Release(Mutex);
        machine.Apcs.KeLeaveGuardedRegion();
    }

    /// <summary>Acquires a guarded mutex for a caller that is in a guarded region or at APC_LEVEL. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="KeAcquireGuardedMutex"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeAcquireGuardedMutexUnsafe(PKGUARDED_MUTEX FastMutex) => Acquire(FastMutex);

    /// <summary>Releases what KeAcquireGuardedMutexUnsafe acquired. IRQL &lt;= APC_LEVEL.</summary>
    /// <inheritdoc cref="ExReleaseFastMutex"/>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void KeReleaseGuardedMutexUnsafe(PKGUARDED_MUTEX FastMutex) => Release(FastMutex);

    static ref int CountOf(PVOID mutex) => ref GuestMemory.Ref<int>(mutex.Address);

    static ref PVOID OwnerOf(PVOID mutex) => ref GuestMemory.Ref<PVOID>(mutex.Address + 0x08);

    static PDISPATCHER_HEADER EventOf(PVOID mutex) => new(mutex.Address + 0x18);

    void Acquire(PVOID mutex)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        if (OwnerOf(mutex).Address == thread.Object.Address)
            throw machine.BugChecks.StopHung($"{thread} acquires {Describe(mutex)}, which it owns already: it would wait for itself.");
        if (Interlocked.Decrement(ref CountOf(mutex)) < 0)
        {
            Interlocked.Increment(ref GuestMemory.Ref<int>(mutex.Address + 0x10)); // Contention
            machine.Dispatcher.Wait(new PKEVENT(EventOf(mutex).Address),
                () => $"waits for {Describe(mutex)}, which {machine.Dispatcher.DescribeOwner(new PKTHREAD(OwnerOf(mutex).Address))} owns");
        }
        OwnerOf(mutex) = new PVOID(thread.Object.Address);
    }

    bool TryAcquire(PVOID mutex)
    {
        KernelThread thread = machine.CurrentThread;
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        if (Interlocked.CompareExchange(ref CountOf(mutex), 0, 1) != 1) return false;
        OwnerOf(mutex) = new PVOID(thread.Object.Address);
        return true;
    }

    /// <summary>Who waits gets it: nobody can come in between, as the count does not show it free.</summary>
    void Release(PVOID mutex)
    {
        KernelThread thread = machine.CurrentThread;
        if (OwnerOf(mutex).Address != thread.Object.Address)
        {
            throw machine.BugChecks.Stop(BugCheckCode.KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE, thread.Object.Address, mutex.Address, 0, 0,
                $"{thread} releases {Describe(mutex)}, which {machine.Dispatcher.DescribeOwner(new PKTHREAD(OwnerOf(mutex).Address))} owns.");
        }
        OwnerOf(mutex) = default;
        if (Interlocked.Increment(ref CountOf(mutex)) <= 0) machine.Dispatcher.Signal(EventOf(mutex), EVENT_INCREMENT);
        machine.Dispatcher.AfterSignal(wait: false);
    }

    static string Describe(PVOID mutex) => $"the {(EventOf(mutex).Type == KOBJECTS.GateObject ? "guarded" : "fast")} mutex at {mutex}";
}
