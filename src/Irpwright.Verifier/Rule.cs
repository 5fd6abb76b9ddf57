namespace Irpwright.Verification;

/// <summary>Asks for the events of one kind. A rule gets no others, so a hundred rules cost no more than those that look.</summary>
public interface IWatch<TEvent> where TEvent : struct, allows ref struct
{
    /// <summary>Called on the thread that causes the event, never for two events of a machine at once.</summary>
    void On(in TEvent e);

    /// <summary>All of this must be the case for the rule to be asked.</summary>
    Situation When => Situation.Ordinary;
}

/// <summary>Asks for calls of some kernel routines, before they are carried out.</summary>
public interface IWatchCalls
{
    IReadOnlyList<KernelExport> Calls { get; }

    /// <summary>A driver calls one of them.</summary>
    void Called(in DdiCalled e);
}

/// <summary>Asks for some kernel routines having returned.</summary>
public interface IWatchReturns
{
    /// <summary>A rule that is also <see cref="IWatchCalls"/> hears of the same routines.</summary>
    IReadOnlyList<KernelExport> Calls { get; }

    void Returned(in DdiReturned e);
}

/// <summary>Asks to be told when what was to be watched is over (<see cref="Verifier.Finish"/>): what has not happened by then never will.</summary>
public interface IWatchEnd
{
    /// <summary>Called on the host's thread; of the tracker only <see cref="IrpTracker.Irps"/> and <see cref="IrpTracker.Threads"/> can be asked.</summary>
    void Finished();
}

/// <summary>
/// One rule: it watches the events it needs (<see cref="IWatch{TEvent}"/>, <see cref="IWatchCalls"/>) and reports what breaks it. What several rules
/// need to know about an IRP, a thread and its routines is in <see cref="Tracker"/>, and is current when <c>On</c> is called.
/// </summary>
/// <remarks>
/// A rule looks at state in guest memory and at what the tracker noted, never at routines that the WDK defines inline, which
/// compiled drivers do not call. It may read an IRP only while the tracker knows it.
/// </remarks>
public abstract class Rule
{
    const string NotAttached = "The rule is not attached to a machine.";

    Verifier? verifier;
    IrpTracker? tracker;
    RuleInfo? info;

    /// <summary>What there is to know about the rule.</summary>
    public RuleInfo Info => info ?? throw new InvalidOperationException(NotAttached);

    protected Machine Machine => Verifier.Machine;

    Verifier Verifier => verifier ?? throw new InvalidOperationException(NotAttached);

    /// <summary>What the event at hand is about.</summary>
    protected IrpTracker Tracker => tracker ?? throw new InvalidOperationException(NotAttached);

    /// <summary>Whether the rule has noted what it will ask about when a routine returns: <see cref="Situation.Noted"/>.</summary>
    protected internal bool HasNotes
    {
        get;
        protected set
        {
            if (value != field) Tracker.RulesWithNotes += value ? 1 : -1;
            field = value;
        }
    }

    internal void Bind(Verifier verifier, RuleInfo info)
    {
        this.verifier = verifier;
        tracker = verifier.Tracker;
        this.info = info;
    }

    /// <summary>Reports a violation of this rule.</summary>
    /// <param name="place">Who did it. The same rule at the same place counts once.</param>
    /// <param name="sentence">What was wrong, naming driver, routine and IRP.</param>
    /// <param name="subject">What tells violations at the same place apart.</param>
    protected void Report(CodePlace place, IrpName irp, string sentence, ulong subject = 0) =>
        Verifier.Report(Info, place, irp, sentence, subject);
}
