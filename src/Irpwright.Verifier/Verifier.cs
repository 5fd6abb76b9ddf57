using System.Runtime.CompilerServices;

namespace Irpwright.Verification;

/// <summary>Watches the drivers of one machine and collects what they do against the rules.</summary>
/// <example><code>
/// var verifier = Verifier.Attach(machine);
/// machine.Run(() => ...);
/// Assert.Empty(verifier.Violations);
/// </code></example>
public sealed partial class Verifier : KernelObserver
{
    readonly EventGate gate;
    // Reading what was found does not wait for events.
    readonly Lock results = new();
    readonly List<Violation> violations = [];
    readonly Dictionary<(string Rule, ulong Routine, ulong Call, ulong Subject), Violation> places = [];
    readonly MuteList mutes;
    readonly Watch<DdiCalled>[]?[] calls = new Watch<DdiCalled>[KernelExports.All.Count][];
    readonly Watch<DdiReturned>[]?[] returns = new Watch<DdiReturned>[KernelExports.All.Count][];
    readonly Action[] ends;
    long step;

    Verifier(Machine machine, IReadOnlyList<RuleInfo> rules, MuteList mutes)
    {
        Machine = machine;
        Rules = rules;
        this.mutes = mutes;
        Tracker = new IrpTracker(machine);
        gate = new EventGate(machine);
        Rule[] made = [.. rules.Select(info => info.Create())];
        for (int i = 0; i < made.Length; i++) made[i].Bind(this, rules[i]);
        var numbered = new Rule?[RuleCatalog.All.Count];
        for (int i = 0; i < made.Length; i++) numbered[RuleCatalog.NumberOf(rules[i])] = made[i];
        CollectWatches(numbered);
        ends = [.. made.OfType<IWatchEnd>().Select(rule => new Action(rule.Finished))];
        foreach (Rule rule in made)
        {
            if (rule is IWatchCalls watcher) Add(calls, watcher.Calls, watcher.Called);
            if (rule is IWatchReturns returning) Add(returns, returning.Calls, returning.Returned);
        }
    }

    /// <summary>Watches a machine from now on, best before its first driver is loaded.</summary>
    /// <param name="rules">All rules but advice (<see cref="RuleCatalog.Default"/>), if null.</param>
    /// <param name="mutes">What is not to be reported.</param>
    public static Verifier Attach(Machine machine, IEnumerable<RuleInfo>? rules = null, MuteList? mutes = null)
    {
        var verifier = new Verifier(machine, [.. rules ?? RuleCatalog.Default], mutes ?? new MuteList());
        machine.Events.Add(verifier);
        return verifier;
    }

    public Machine Machine { get; }

    /// <summary>The rules that are watched for, also muted ones.</summary>
    public IReadOnlyList<RuleInfo> Rules { get; }

    /// <summary>What was found, in the order in which it first happened.</summary>
    public IReadOnlyList<Violation> Violations
    {
        get { lock (results) return [.. violations]; }
    }

    /// <summary>How many violations were muted, repetitions included.</summary>
    public int MutedCount { get; private set; }

    /// <summary>Told of every violation when it first happens, on the thread that causes it; must not call the machine.</summary>
    public Action<Violation>? Found { get; set; }

    /// <summary>
    /// Says that what was to be watched is over: its requests have ended, or the machine has stopped. Rules about what never happens
    /// report now. What comes later is watched like before; may be called again.
    /// </summary>
    public void Finish()
    {
        gate.EnterShared();
        try
        {
            Tracker.End();
            foreach (Action end in ends) Guard(end);
        }
        finally
        {
            gate.Exit(isAlone: false);
        }
    }

    // Memory that the rule wants to look at is gone: without evidence there is no violation.
    static void Guard(Action look)
    {
        try
        {
            look();
        }
        catch (Exception fault) when (IsOfMemory(fault))
        {
        }
    }

    static bool IsOfMemory(Exception fault) => fault is NtStatusException or GuestFaultException;

    internal IrpTracker Tracker { get; }

    internal void Report(RuleInfo rule, CodePlace place, IrpName irp, string sentence, ulong subject)
    {
        (ulong routine, ulong call) = place.Key;
        (string, ulong, ulong, ulong) key = (rule.Name, routine, call, subject);
        if (places.TryGetValue(key, out Violation? known))
        {
            known.Occurrences++;
            return;
        }
        if (mutes.Covers(rule, place.DriverName, place.Symbol))
        {
            MutedCount++;
            return;
        }
        KernelThread? thread = Machine.TryGetCurrentThread();
        var violation = new Violation(
            rule, sentence, irp.Address, place.DriverName, place.Address, place.Symbol,
            thread?.ToString() ?? "host", thread?.Irql ?? 0, step);
        places.Add(key, violation);
        lock (results) violations.Add(violation);
        Found?.Invoke(violation);
    }

    static void Add<TEvent>(Watch<TEvent>[]?[] table, IEnumerable<KernelExport> exports, Watch<TEvent> watch) where TEvent : struct, allows ref struct
    {
        foreach (KernelExport export in exports) table[export.Index] = [.. table[export.Index] ?? [], watch];
    }

    /// <summary>Calls are followed for what comes of them; few returns are of interest.</summary>
    protected override WatchedCalls Watches(KernelExport export) =>
        returns[export.Index] is not null || IrpTracker.Follows(export) ? WatchedCalls.Both : WatchedCalls.Calls;

    /// <summary>Notes a call that is nothing to any rule; most calls are.</summary>
    bool IsOrdinary(in DdiCalled e)
    {
        if (calls[e.Export.Index] is not null || IrpTracker.Acts(e.Export) || Tracker.ContextOf(e.By) is not { } caller) return false;
        if (IrpTracker.SituationOf(in e, caller) != Situation.Ordinary) return false;
        IrpTracker.Note(caller, in e);
        // Threads in parallel may count one less: it says about when something was found.
        step++;
        return true;
    }

    void TellCall(in DdiCalled e)
    {
        if (calls[e.Export.Index] is { } watches) Tell(watches, in e);
    }

    void TellCall(in DdiReturned e)
    {
        if (returns[e.Export.Index] is { } watches) Tell(watches, in e);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Tell<TEvent>(Watch<TEvent>[] rules, in TEvent e) where TEvent : struct, allows ref struct
    {
        for (int i = 0; i < rules.Length;)
        {
            try
            {
                while (i < rules.Length) rules[i++](in e);
            }
            catch (Exception fault) when (IsOfMemory(fault))
            {
                // The driver has freed what the rule wanted to look at: without evidence there is no violation.
            }
        }
    }

}
