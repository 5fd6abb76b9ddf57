namespace Irpwright.Verification;

/// <summary>Watches the drivers of one machine and collects what they do against the rules.</summary>
/// <example><code>
/// var verifier = Verifier.Attach(machine);
/// machine.Run(() => ...);
/// Assert.Empty(verifier.Violations);
/// </code></example>
public sealed class Verifier : KernelObserver
{
    readonly Lock gate = new();
    readonly List<Violation> violations = [];
    readonly Dictionary<(string Rule, ulong Routine, ulong Call, ulong Subject), Violation> places = [];
    readonly HashSet<string> muted = new(StringComparer.Ordinal);
    long step;

    readonly Watch<IrpAllocated>[] irpAllocated;
    readonly Watch<IrpReused>[] irpReused;
    readonly Watch<IrpFreed>[] irpFreed;
    readonly Watch<IrpForwarding>[] irpForwarding;
    readonly Watch<IrpForwarded>[] irpForwarded;
    readonly Watch<DispatchReturned>[] dispatchReturned;
    readonly Watch<IrpCompleting>[] irpCompleting;
    readonly Watch<CompletionRoutineReturned>[] completionRoutineReturned;
    readonly Watch<IrpCancelled>[] irpCancelled;
    readonly Watch<CancelRoutineReturned>[] cancelRoutineReturned;
    readonly Watch<DpcReturned>[] dpcReturned;
    readonly Watch<WorkItemReturned>[] workItemReturned;
    readonly Watch<DdiCalled>[] ddiCalled;
    readonly Watch<EventSet>[] eventSet;
    readonly Watch<WaitStarted>[] waitStarted;
    readonly Watch<InformationTooLarge>[] informationTooLarge;
    readonly Watch<BugCheckRaised>[] bugCheckRaised;

    Verifier(Machine machine, Rule[] rules)
    {
        Machine = machine;
        Tracker = new IrpTracker(machine);
        irpAllocated = Of<IrpAllocated>();
        irpReused = Of<IrpReused>();
        irpFreed = Of<IrpFreed>();
        irpForwarding = Of<IrpForwarding>();
        irpForwarded = Of<IrpForwarded>();
        dispatchReturned = Of<DispatchReturned>();
        irpCompleting = Of<IrpCompleting>();
        completionRoutineReturned = Of<CompletionRoutineReturned>();
        irpCancelled = Of<IrpCancelled>();
        cancelRoutineReturned = Of<CancelRoutineReturned>();
        dpcReturned = Of<DpcReturned>();
        workItemReturned = Of<WorkItemReturned>();
        ddiCalled = Of<DdiCalled>();
        eventSet = Of<EventSet>();
        waitStarted = Of<WaitStarted>();
        informationTooLarge = Of<InformationTooLarge>();
        bugCheckRaised = Of<BugCheckRaised>();

        Watch<TEvent>[] Of<TEvent>() where TEvent : struct =>
            [.. rules.OfType<IWatch<TEvent>>().Select(rule => new Watch<TEvent>(rule.On))];
    }

    /// <summary>Watches a machine from now on, best before its first driver is loaded.</summary>
    /// <param name="rules">All rules there are, if null.</param>
    public static Verifier Attach(Machine machine, IEnumerable<RuleInfo>? rules = null)
    {
        RuleInfo[] chosen = [.. rules ?? RuleCatalog.All];
        Rule[] made = [.. chosen.Select(info => info.Create())];
        var verifier = new Verifier(machine, made) { Rules = chosen };
        for (int i = 0; i < made.Length; i++) made[i].Bind(verifier, chosen[i]);
        machine.Events.Add(verifier);
        return verifier;
    }

    public Machine Machine { get; }

    /// <summary>The rules that are watched for, also muted ones.</summary>
    public IReadOnlyList<RuleInfo> Rules { get; private init; } = [];

    /// <summary>What was found, in the order in which it first happened.</summary>
    public IReadOnlyList<Violation> Violations
    {
        get { lock (gate) return [.. violations]; }
    }

    /// <summary>Told of every violation when it first happens, on the thread that causes it; must not call the machine.</summary>
    public Action<Violation>? Found { get; set; }

    internal IrpTracker Tracker { get; }

    /// <summary>Does not report violations of a rule from now on.</summary>
    /// <param name="rule">Its name.</param>
    /// <exception cref="ArgumentException">No rule of that name is watched for.</exception>
    public void Mute(string rule)
    {
        if (!Rules.Any(r => r.Name == rule)) throw new ArgumentException($"There is no rule {rule} here.", nameof(rule));
        lock (gate) muted.Add(rule);
    }

    internal void Report(RuleInfo rule, CodePlace place, IrpName irp, string sentence, ulong subject)
    {
        if (muted.Contains(rule.Name)) return;
        (ulong routine, ulong call) = place.Key;
        (string, ulong, ulong, ulong) key = (rule.Name, routine, call, subject);
        if (places.TryGetValue(key, out Violation? known))
        {
            known.Occurrences++;
            return;
        }
        KernelThread? thread = Machine.TryGetCurrentThread();
        var violation = new Violation(
            rule, sentence, irp.Address, place.DriverName, place.Address, place.Symbol,
            thread?.ToString() ?? "host", thread?.Irql ?? 0, step);
        places.Add(key, violation);
        violations.Add(violation);
        Found?.Invoke(violation);
    }

    // A call through a delegate takes a third of one through an interface that so many classes implement.
    delegate void Watch<TEvent>(in TEvent e) where TEvent : struct;

    static void Tell<TEvent>(Watch<TEvent>[] rules, in TEvent e) where TEvent : struct
    {
        for (int i = 0; i < rules.Length;)
        {
            try
            {
                while (i < rules.Length) rules[i++](in e);
            }
            catch (Exception fault) when (fault is NtStatusException or GuestFaultException)
            {
                // The driver has freed what the rule wanted to look at: without evidence there is no violation.
            }
        }
    }

    // One event at a time, also when guest threads run in parallel.
    bool Begin()
    {
        step++;
        return Tracker.Begin();
    }

    public override void On(in IrpAllocated e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Allocated(in e);
            Tell(irpAllocated, in e);
            Tracker.AllocatedDone(in e);
        }
    }

    public override void On(in IrpReused e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Reused(in e);
            Tell(irpReused, in e);
            Tracker.ReusedDone(in e);
        }
    }

    public override void On(in IrpFreed e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Freed(in e);
            Tell(irpFreed, in e);
            Tracker.FreedDone();
        }
    }

    public override void On(in IrpForwarding e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Forwarding(in e);
            Tell(irpForwarding, in e);
        }
    }

    public override void On(in IrpForwarded e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Forwarded(in e);
            Tell(irpForwarded, in e);
            Tracker.ForwardedDone();
        }
    }

    public override void On(in DispatchReturned e)
    {
        lock (gate)
        {
            if (!Begin() || !Tracker.Returned(in e)) return;
            Tell(dispatchReturned, in e);
            Tracker.ReturnedDone(in e);
        }
    }

    public override void On(in IrpCompleting e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Completing(in e);
            Tell(irpCompleting, in e);
            Tracker.CompletingDone(in e);
        }
    }

    public override void On(in CompletionRoutineCalled e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.RoutineCalled(in e);
        }
    }

    public override void On(in CompletionRoutineReturned e)
    {
        lock (gate)
        {
            if (!Begin() || !Tracker.RoutineReturned(in e)) return;
            Tell(completionRoutineReturned, in e);
            Tracker.Pop();
        }
    }

    public override void On(in IrpCompleted e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.Completed(in e);
        }
    }

    public override void On(in IrpCancelled e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Cancelled(in e);
            Tell(irpCancelled, in e);
            Tracker.CancelledDone(in e);
        }
    }

    public override void On(in CancelRoutineReturned e)
    {
        lock (gate)
        {
            if (!Begin() || !Tracker.CancelReturned(in e)) return;
            Tell(cancelRoutineReturned, in e);
            Tracker.Pop();
        }
    }

    public override void On(in DpcStarted e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.Enter(RoutineKind.Dpc, e.Routine.Address);
        }
    }

    public override void On(in DpcReturned e)
    {
        lock (gate)
        {
            if (!Begin() || !Tracker.Leave(RoutineKind.Dpc, e.Routine.Address)) return;
            Tell(dpcReturned, in e);
            Tracker.Pop();
        }
    }

    public override void On(in WorkItemStarted e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.Enter(RoutineKind.WorkItem, e.Routine);
        }
    }

    public override void On(in WorkItemReturned e)
    {
        lock (gate)
        {
            if (!Begin() || !Tracker.Leave(RoutineKind.WorkItem, e.Routine)) return;
            Tell(workItemReturned, in e);
            Tracker.Pop();
        }
    }

    public override void On(in DdiCalled e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.Called(in e);
            Tell(ddiCalled, in e);
        }
    }

    public override void On(in WaitStarted e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.WaitStarted(in e);
            Tell(waitStarted, in e);
        }
    }

    public override void On(in WaitEnded e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.WaitEnded();
        }
    }

    public override void On(in EventSet e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.EventSet(in e);
            Tell(eventSet, in e);
            Tracker.EventSetDone();
        }
    }

    public override void On(in SpinLockAcquired e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.LockAcquired(in e);
        }
    }

    public override void On(in SpinLockReleased e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.LockReleased(in e);
        }
    }

    public override void On(in ThreadEnded e)
    {
        lock (gate)
        {
            if (Begin()) Tracker.ThreadEnded(in e);
        }
    }

    public override void On(in InformationTooLarge e)
    {
        lock (gate)
        {
            if (!Begin()) return;
            Tracker.TooLarge(in e);
            Tell(informationTooLarge, in e);
        }
    }

    public override void On(in BugCheckRaised e)
    {
        lock (gate)
        {
            if (Begin()) Tell(bugCheckRaised, in e);
        }
    }
}
