namespace Irpwright.Verification.Rules;

/// <summary>After IoCallDriver returned STATUS_PENDING the IRP must have come back before it is completed (CALL-09).</summary>
sealed class PendedCompletedRequest2 : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(PendedCompletedRequest2), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(PendedCompletedRequest2)), Codes.Io(0x209),
        "A driver completes an IRP that a lower driver still has.",
        static () => new PendedCompletedRequest2())
    {
        Covers = ["PendedCompletedRequestEx", "DV-C9-0x209"],
        Instead = "Wait until the completion routine has brought the IRP back (it returns STATUS_MORE_PROCESSING_REQUIRED), then complete it.",
        Wrong = """
            status = IoCallDriver(lower, Irp);
            if (status == STATUS_PENDING) {
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            }
            """,
        Right = """
            status = IoCallDriver(lower, Irp);
            if (status == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    public Situation When => Situation.Elsewhere;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Overtaken is not { } own || Tracker.Owner is not { } lower) return;
        Report(Tracker.Caller, own.Irp,
            $"{own} completed {own.Irp}, which it had sent down and {lower} still has. Wait until the completion routine has brought "
                + "it back.");
    }
}
