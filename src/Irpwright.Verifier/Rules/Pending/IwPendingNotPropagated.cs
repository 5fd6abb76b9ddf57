namespace Irpwright.Verification.Rules;

/// <summary>Where a completion routine is called, nobody but it passes the pending mark on (IMP-01, PEND-07, CMP-18).</summary>
sealed class IwPendingNotPropagated : Rule, IWatch<CompletionRoutineReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPendingNotPropagated), RuleFamily.Pending, Error,
        Pages.IoVerification, Codes.Io(0x228),
        "A completion routine finds PendingReturned set, lets completion go on, and its driver's location is not marked pending.",
        static () => new IwPendingNotPropagated())
    {
        Covers = ["DV-C9-0x228"],
        Instead = "Call IoMarkIrpPending in the completion routine if Irp->PendingReturned is set and the routine lets the completion go on.",
        Wrong = """
            NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                return STATUS_CONTINUE_COMPLETION;
            }
            """,
        Right = """
            NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                if (Irp->PendingReturned) IoMarkIrpPending(Irp);
                return STATUS_CONTINUE_COMPLETION;
            }
            """,
    };

    public Situation When => Situation.Pending;

    public void On(in CompletionRoutineReturned e)
    {
        RoutineFrame frame = Tracker.Frame;
        if (!frame.PendingReturned || e.Status == NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED || frame.Visit is null) return;
        if (Tracker.Known is not { } irp || e.Irp.CurrentLocation != frame.Location) return;
        if ((irp.ControlOf(frame.Location) & SL_CONTROL.SL_PENDING_RETURNED) != 0) return;
        Report(frame.Place, irp.Name,
            $"{frame} was called for {irp} with PendingReturned set and let the completion go on without IoMarkIrpPending: the drivers "
                + "above, whose caller was told STATUS_PENDING, take the IRP for completed at once.");
    }
}
