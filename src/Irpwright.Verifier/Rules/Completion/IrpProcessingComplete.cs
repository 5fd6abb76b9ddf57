namespace Irpwright.Verification.Rules;

/// <summary>A status other than STATUS_PENDING says that the IRP is completed (PEND-11).</summary>
sealed class IrpProcessingComplete : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IrpProcessingComplete), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(IrpProcessingComplete)), Codes.Io(0x226),
        "A dispatch routine returns a final status for an IRP that nobody has completed.",
        static () => new IrpProcessingComplete())
    {
        Covers = ["DV-C9-0x226"],
        Instead = "Complete the IRP, send it on, or mark it pending and return STATUS_PENDING.",
        Wrong = """
            NTSTATUS DispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                return STATUS_SUCCESS;
            }
            """,
        Right = """
            NTSTATUS DispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_SUCCESS;
            }
            """,
    };

    public Situation When => Situation.Unfinished;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (e.Status == NTSTATUS.STATUS_PENDING || visit.Passed || visit.MayHaveMarked || visit.RepeatsAnError(e.Status)) return;
        // That is WmiComplete's or WmiForward's.
        if (visit is { Irp.MajorFunction: IRP_MJ_SYSTEM_CONTROL, Forwarded: false, Completed: false }) return;
        string instead = visit.Forwarded
            ? "although it is not completed since it was sent down"
            : "without completing it, sending it on or marking it pending";
        Report(visit.Place, visit.Irp,
            $"{visit} returned {e.Status.Name} for {visit.Irp} {instead}: who sent the IRP takes it for finished.");
    }
}
