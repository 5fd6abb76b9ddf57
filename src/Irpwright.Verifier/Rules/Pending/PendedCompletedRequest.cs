namespace Irpwright.Verification.Rules;

/// <summary>A dispatch routine that completed the IRP returns the IRP's status, unless it had marked it pending (PEND-04).</summary>
sealed class PendedCompletedRequest : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(PendedCompletedRequest), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(PendedCompletedRequest)), Codes.Io(0x23D),
        "A dispatch routine completes an IRP that it did not mark pending, and returns STATUS_PENDING.",
        static () => new PendedCompletedRequest())
    {
        Instead = "Return the status that the IRP was completed with.",
        Wrong = """
            Irp->IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_PENDING;
            """,
        Right = """
            Irp->IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
            """,
    };

    public Situation When => Situation.Pending;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (e.Status != NTSTATUS.STATUS_PENDING || visit.MayHaveMarked || !visit.CompletedByDispatch) return;
        Report(visit.Place, visit.Irp,
            $"{visit} completed {visit.Irp} without having marked it pending, and returned STATUS_PENDING: who sent the IRP goes on "
                + "waiting for it.");
    }
}
