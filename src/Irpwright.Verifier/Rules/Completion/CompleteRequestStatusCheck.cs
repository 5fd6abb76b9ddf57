namespace Irpwright.Verification.Rules;

/// <summary>A completed IRP has a final status (CMP-27).</summary>
sealed class CompleteRequestStatusCheck : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(CompleteRequestStatusCheck), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(CompleteRequestStatusCheck)), Codes.Io(0x6),
        "IoCompleteRequest is called with IoStatus.Status STATUS_PENDING or 0xFFFFFFFF.",
        static () => new CompleteRequestStatusCheck())
    {
        Covers = ["DV-C9-0x06"],
        Instead = "Set Irp->IoStatus.Status to a final status before IoCompleteRequest.",
        Wrong = """
            Irp->IoStatus.Status = STATUS_PENDING;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            Irp->IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpCompleting e)
    {
        if (e.Status is not (NTSTATUS.STATUS_PENDING or (NTSTATUS)(-1))) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} completed {Tracker.Irp} with status {e.Status.Name}, which is no final status. Set Irp->IoStatus before "
                + "IoCompleteRequest.");
    }
}
