namespace Irpwright.Verification.Rules;

/// <summary>A routine either passes the pending mark on or wakes the dispatch routine that waits, never both (IMP-02).</summary>
sealed class CompletionEventChecking : Rule, IWatch<CompletionRoutineReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(CompletionEventChecking), RuleFamily.Completion, Warning,
        Pages.Wdm(nameof(CompletionEventChecking)), null,
        "One run of a completion routine marks the IRP pending and sets the event that its dispatch routine waits for.",
        static () => new CompletionEventChecking())
    {
        Instead = "Either mark the IRP pending and let the completion go on, or set the event and return STATUS_MORE_PROCESSING_REQUIRED.",
        Wrong = """
            if (Irp->PendingReturned) IoMarkIrpPending(Irp);
            KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
            return STATUS_MORE_PROCESSING_REQUIRED;
            """,
        Right = """
            KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
            return STATUS_MORE_PROCESSING_REQUIRED;
            """,
    };

    public Situation When => Situation.Marked;

    // Events that have nothing to do with the IRP are a driver's own business: only the waiter's counts.
    public void On(in CompletionRoutineReturned e)
    {
        RoutineFrame frame = Tracker.Frame;
        if (!frame.Marked || frame.EventSet.IsNull) return;
        bool waiter = frame.Visit is { } visit && visit.Irp.Use == frame.Irp.Use
            && visit.WaitingFor.Address == frame.EventSet.Address;
        if (!waiter && frame.EventSet.Address != frame.Context.Address) return;
        Report(frame.Place, frame.Irp,
            $"{frame} marked {frame.Irp} pending and set the event at {frame.EventSet}. A routine whose dispatch routine waits returns "
                + "STATUS_MORE_PROCESSING_REQUIRED and does not mark.");
    }
}
