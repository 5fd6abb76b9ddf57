using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Who is told that a request is over.</summary>
/// <param name="Completion">The program that sent it, if it asked.</param>
/// <param name="Event">An event object that is referenced until then; null for none.</param>
readonly record struct Requestor(IRequestCompletion? Completion, PKEVENT Event);

/// <summary>
/// IRPs whose end somebody waits for, in the list of their thread or of their file object, and who is cancelling them.
/// </summary>
/// <remarks>One lock guards every list: an IRP is in one at most, and leaves it without knowing which.</remarks>
sealed class OutstandingIrps
{
    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<PIRP, Requestor> requestors = [];
    readonly Dictionary<PIRP, Cancellation> cancellations = [];

    internal OutstandingIrps(Machine machine) => this.machine = machine;

    /// <summary>Keeps an IRP from being freed while IoCancelIrp has it.</summary>
    sealed class Cancellation(KernelThread canceller)
    {
        internal readonly KernelThread Canceller = canceller;
        internal KernelThread? Waiter;
    }

    /// <param name="list">Of its thread, or of a file object whose requests belong to no thread (CANCEL-17).</param>
    internal void Add(PIRP irp, PLIST_ENTRY list, Requestor requestor = default)
    {
        lock (gate)
        {
            Lists.InsertTail(list, EntryOf(irp));
            if (requestor != default) requestors.Add(irp, requestor);
        }
    }

    /// <summary>Takes an IRP out of the list it is in, if any; returns once nobody is cancelling it.</summary>
    /// <returns>Who is to be told.</returns>
    internal Requestor Remove(PIRP irp)
    {
        Requestor requestor = default;
        while (true)
        {
            KernelThread thread;
            lock (gate)
            {
                Lists.Remove(EntryOf(irp));
                if (requestors.Count > 0 && requestors.Remove(irp, out Requestor found)) requestor = found;
                if (cancellations.Count == 0 || !cancellations.TryGetValue(irp, out Cancellation? cancellation)) return requestor;
                thread = machine.CurrentThread;
                if (cancellation.Canceller == thread)
                {
                    // Its own cancel routine completes the IRP; IoCancelIrp does not touch it any more.
                    cancellations.Remove(irp);
                    return requestor;
                }
                cancellation.Waiter = thread;
            }
            thread.Reason = "finishes a request that another thread is cancelling";
            machine.Scheduler.Block(thread, long.MaxValue);
            thread.Reason = null;
        }
    }

    internal bool IsEmpty(PLIST_ENTRY list)
    {
        lock (gate) return Lists.IsEmpty(list);
    }

    /// <summary>Cancels the request of a program; false if it is over, whoever has its packet now.</summary>
    internal bool Cancel(PIRP irp, IRequestCompletion completion)
    {
        lock (gate)
        {
            if (!requestors.TryGetValue(irp, out Requestor requestor) || requestor.Completion != completion) return false;
            if (!cancellations.TryAdd(irp, new Cancellation(machine.CurrentThread))) return true;
        }
        CancelHeld([irp]);
        return true;
    }

    /// <summary>Cancels the IRPs in some lists that are asked for, each once.</summary>
    /// <returns>How many there were.</returns>
    internal int Cancel(IEnumerable<PLIST_ENTRY> lists, Func<PIRP, bool> wanted)
    {
        List<PIRP> held = [];
        int found = 0;
        lock (gate)
        {
            foreach (PLIST_ENTRY list in lists)
            {
                for (PLIST_ENTRY entry = list.Flink; entry != list; entry = entry.Flink)
                {
                    PIRP irp = IrpOf(entry);
                    if (!wanted(irp)) continue;
                    found++;
                    if (cancellations.TryAdd(irp, new Cancellation(machine.CurrentThread))) held.Add(irp);
                }
            }
        }
        CancelHeld(held);
        return found;
    }

    // A request that ends is finished by APC in this thread too, if it is its own: not before all of this is over.
    void CancelHeld(List<PIRP> held)
    {
        machine.Apcs.KeEnterGuardedRegion();
        foreach (PIRP irp in held) CancelHeld(irp);
        machine.Apcs.KeLeaveGuardedRegion();
    }

    void CancelHeld(PIRP irp)
    {
        machine.Cancellation.IoCancelIrp(irp);
        Cancellation? cancellation;
        lock (gate)
        {
            if (cancellations.GetValueOrDefault(irp)?.Canceller != machine.CurrentThread) return;
            cancellations.Remove(irp, out cancellation);
        }
        if (cancellation!.Waiter is { } waiter) machine.Scheduler.Unblock(waiter);
    }

    static PLIST_ENTRY EntryOf(PIRP irp) => new(irp.Address + 0x20);

    static PIRP IrpOf(PLIST_ENTRY entry) => new(entry.Address - 0x20);
}
