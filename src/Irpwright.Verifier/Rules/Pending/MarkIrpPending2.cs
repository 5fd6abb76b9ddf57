namespace Irpwright.Verification.Rules;

/// <summary>STATUS_PENDING is for IRPs that the driver marked, or that a lower driver got (PEND-04, PEND-10).</summary>
sealed class MarkIrpPending2 : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(MarkIrpPending2), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(MarkIrpPending2)), Codes.Io(0x23D),
        "A dispatch routine returns STATUS_PENDING for an IRP that it neither marked pending nor sent to a lower driver.",
        static () => new MarkIrpPending2())
    {
        Covers = ["DV-C9-0x23D", "DV-C9-0x24C"],
        Instead = "Mark the IRP pending, before anybody else can see it, or send it to the lower driver and return what IoCallDriver returned.",
        Wrong = """
            QueueRequest(extension, Irp);
            return STATUS_PENDING;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            QueueRequest(extension, Irp);
            return STATUS_PENDING;
            """,
    };

    public Situation When => Situation.Pending;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (e.Status != NTSTATUS.STATUS_PENDING || visit.MayHaveMarked || visit.Forwarded || visit.CompletedByDispatch) return;
        // That is WmiComplete's or WmiForward's.
        if (visit.Irp.MajorFunction == IRP_MJ_SYSTEM_CONTROL) return;
        Report(visit.Place, visit.Irp,
            $"{visit} returned STATUS_PENDING for {visit.Irp}, but neither called IoMarkIrpPending before anybody else could see the "
                + "IRP nor sent it to a lower driver.");
    }
}
