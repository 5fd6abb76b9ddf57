namespace Irpwright.Verification.Rules;

/// <summary>Without memory IoSetCompletionRoutineEx registers nothing (REG-11).</summary>
sealed class IoSetCompletionExCompleteIrp : RegistrationRule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IoSetCompletionExCompleteIrp), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(IoSetCompletionExCompleteIrp)), Codes.Detected(0x0004100F),
        "A driver sends an IRP on although IoSetCompletionRoutineEx failed.",
        static () => new IoSetCompletionExCompleteIrp())
    {
        Covers = ["IoSetCompletionRoutineExCheck"],
        Instead = "Look at the status of IoSetCompletionRoutineEx; if it failed, complete the IRP with it.",
        Wrong = """
            IoSetCompletionRoutineEx(DeviceObject, Irp, Done, NULL, TRUE, TRUE, TRUE);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            status = IoSetCompletionRoutineEx(DeviceObject, Irp, Done, NULL, TRUE, TRUE, TRUE);
            if (!NT_SUCCESS(status)) {
                Irp->IoStatus.Status = status;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return status;
            }
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Registered;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Registration: < 0 } owner) return;
        Report(Tracker.Caller, owner.Irp,
            $"{owner} sent {owner.Irp} on although IoSetCompletionRoutineEx had failed: its completion routine will not be called.");
    }
}
