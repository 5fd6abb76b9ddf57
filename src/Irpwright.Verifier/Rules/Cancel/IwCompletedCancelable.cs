namespace Irpwright.Verification.Rules;

/// <summary>The cancel routine is taken out before the IRP is completed (CMP-28); 0x48 may follow much later.</summary>
sealed class IwCompletedCancelable : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCompletedCancelable), RuleFamily.Cancel, Error,
        Pages.IoVerification, Codes.Io(0x7),
        "IoCompleteRequest is called while a cancel routine that the driver set is still in the IRP.",
        static () => new IwCompletedCancelable())
    {
        Covers = ["DV-C9-0x07", "DV-C9-0x23C", "BC-0x48"],
        Instead = "Take the cancel routine out with IoSetCancelRoutine(Irp, NULL) before completing; if that returns NULL, the cancel routine completes the IRP.",
        Wrong = """
            Irp->IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            if (IoSetCancelRoutine(Irp, NULL) != NULL) {
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            }
            """,
    };

    public Situation When => Situation.Cancelable;

    public void On(in IrpCompleting e)
    {
        PDRIVER_CANCEL routine = e.Irp.CancelRoutine;
        if (routine.IsNull || (Tracker.Owner is { } owner && routine == owner.InheritedCancelRoutine)) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} completed {Tracker.Irp} with its cancel routine still set: IoCancelIrp may call it for a request that "
                + "is over. Call IoSetCancelRoutine(Irp, NULL) first, and leave the IRP alone if that returns NULL.");
    }
}
