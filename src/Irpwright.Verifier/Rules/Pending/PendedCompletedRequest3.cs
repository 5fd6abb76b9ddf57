namespace Irpwright.Verification.Rules;

/// <summary>What is completed at once need not be marked; that costs the requestor an APC (PEND-04).</summary>
sealed class PendedCompletedRequest3 : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(PendedCompletedRequest3), RuleFamily.Pending, Advice,
        Pages.Wdm(nameof(PendedCompletedRequest3)), null,
        "A dispatch routine marks an IRP pending and completes it itself.",
        static () => new PendedCompletedRequest3())
    {
        Instead = "Do not mark what the dispatch routine completes itself; return its status.",
        Wrong = """
            IoMarkIrpPending(Irp);
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_PENDING;
            """,
        Right = """
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
            """,
    };

    public Situation When => Situation.Marked;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not { Marked: true, Forwarded: false } owner || !Tracker.IsCompletedByDriver) return;
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch } running || running.Visit != owner) return;
        Report(Tracker.Caller, owner.Irp, $"{owner} marked {owner.Irp} pending and then completed it itself.");
    }
}
