namespace Irpwright.Verification.Rules;

/// <summary>Who marks an IRP pending returns STATUS_PENDING, even if the IRP has been completed by then (PEND-03, PEND-10).</summary>
sealed class MarkIrpPending : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(MarkIrpPending), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(MarkIrpPending)), Codes.Io(0x23E),
        "A dispatch routine marks an IRP pending and returns something other than STATUS_PENDING.",
        static () => new MarkIrpPending())
    {
        Covers = ["DV-C9-0x23E", "CA-28143"],
        Instead = "Return STATUS_PENDING whenever the IRP was marked, whatever has become of it.",
        Wrong = """
            IoMarkIrpPending(Irp);
            QueueRequest(extension, Irp);
            return STATUS_SUCCESS;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            QueueRequest(extension, Irp);
            return STATUS_PENDING;
            """,
    };

    public Situation When => Situation.Marked;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (!visit.Marked || e.Status == NTSTATUS.STATUS_PENDING) return;
        Report(visit.Place, visit.Irp,
            $"{visit} marked {visit.Irp} pending, but returned {e.Status.Name}. After IoMarkIrpPending a dispatch routine returns "
                + "STATUS_PENDING, whatever becomes of the IRP.");
    }
}
