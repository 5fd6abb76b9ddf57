namespace Irpwright.Verification.Rules;

/// <summary>Who disables interrupts enables them again.</summary>
sealed class IwReturnedWithoutInterrupts : Rule,
    IWatch<IrpForwarded>, IWatch<FastIoCalled>,
    IWatch<DispatchReturned>, IWatch<FastIoReturned>, IWatch<CompletionRoutineReturned>, IWatch<CancelRoutineReturned>, IWatch<DpcReturned>
{
    readonly HashSet<int> reported = [];

    public static RuleInfo Definition { get; } = new(nameof(IwReturnedWithoutInterrupts), RuleFamily.Irql, Error,
        Pages.Detected, Codes.Detected(0xC1),
        "A dispatch, fast I/O, completion, cancel or DPC routine returns with the processor's interrupts disabled.",
        static () => new IwReturnedWithoutInterrupts())
    {
        Covers = ["DV-C4-0xC1", "DV-C4-0xC3"],
        Instead = "Enable interrupts on every path that leaves the routine, and better leave them alone: raise the IRQL or acquire a spin lock.",
        Wrong = """
            _disable();
            if (Extension->IsEmpty) return STATUS_NO_MORE_ENTRIES;
            _enable();
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            isEmpty = Extension->IsEmpty;
            KeReleaseSpinLock(&Extension->Lock, irql);
            if (isEmpty) return STATUS_NO_MORE_ENTRIES;
            """,
    };

    Situation IWatch<IrpForwarded>.When => Situation.Raised;

    public void On(in IrpForwarded e) => Note();

    public void On(in FastIoCalled e) => Note();

    Situation IWatch<DispatchReturned>.When => Situation.Noted;

    Situation IWatch<CompletionRoutineReturned>.When => Situation.Noted;

    public void On(in DispatchReturned e) => Check();

    public void On(in FastIoReturned e) => Check();

    public void On(in CompletionRoutineReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    public void On(in DpcReturned e) => Check();

    // Those that return to the culprit's caller, and its callers, are not to blame.
    void Check()
    {
        int thread = Tracker.Thread.Thread.Id;
        if (!Tracker.Thread.Thread.InterruptsDisabled) reported.Remove(thread);
        else if (reported.Add(thread)) Report(Tracker.Frame.Place, Tracker.Frame.Irp, $"{Tracker.Frame} returned with interrupts disabled.");
        HasNotes = reported.Count > 0;
    }

    // Disabled when it was called: another one's mistake.
    void Note()
    {
        if (Tracker.Thread.Thread.InterruptsDisabled) reported.Add(Tracker.Thread.Thread.Id);
        HasNotes = reported.Count > 0;
    }
}
