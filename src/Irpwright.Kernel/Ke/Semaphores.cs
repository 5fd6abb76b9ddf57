using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Semaphores: dispatcher objects with a count, which each satisfied wait takes one of.</summary>
public sealed class Semaphores
{
    readonly Machine machine;

    internal Semaphores(Machine machine) => this.machine = machine;

    /// <summary>Prepares a semaphore. Any IRQL.</summary>
    [KernelExport]
    public void KeInitializeSemaphore(PKSEMAPHORE Semaphore, int Count, int Limit)
    {
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(Semaphore.Address), (byte)KOBJECTS.SemaphoreObject, KSEMAPHORE.SizeOf, Count);
        Semaphore.Limit = Limit;
    }

    /// <summary>
    /// Adds to the count; returns the count before. IRQL &lt;= DISPATCH_LEVEL, with <paramref name="Wait"/> TRUE = PASSIVE_LEVEL.
    /// </summary>
    /// <exception cref="NtStatusException">STATUS_SEMAPHORE_LIMIT_EXCEEDED, and nothing is added, when the count would pass its limit.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeReleaseSemaphore(PKSEMAPHORE Semaphore, int Increment, int Adjustment, BOOLEAN Wait)
    {
        PDISPATCHER_HEADER header = new(Semaphore.Address);
        int previous;
        lock (machine.Dispatcher.Gate)
        {
            previous = header.SignalState;
            int count = unchecked(previous + Adjustment);
            if (count > Semaphore.Limit || count < previous) throw new NtStatusException(NTSTATUS.STATUS_SEMAPHORE_LIMIT_EXCEEDED);
            header.SignalState = count;
            machine.Dispatcher.SatisfyWaits(header, Increment);
        }
        machine.Events.Emit(new SemaphoreReleased(Semaphore, Adjustment, Increment));
        machine.Dispatcher.AfterSignal(Wait);
        return previous;
    }

    /// <summary>Returns the count; not signalled when it is 0. Any IRQL.</summary>
    [KernelExport]
    public int KeReadStateSemaphore(PKSEMAPHORE Semaphore) => Volatile.Read(ref new PDISPATCHER_HEADER(Semaphore.Address).SignalState);
}
