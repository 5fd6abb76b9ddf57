namespace Irpwright.Verification.Rules;

/// <summary>An IRP that is pending below is not sent a second time (CALL-09).</summary>
sealed class IwForwardedWhileBelow : Rule, IWatch<IrpForwarding>
{
    public static RuleInfo Definition { get; } = new(nameof(IwForwardedWhileBelow), RuleFamily.Pending, Error,
        Pages.IoVerification, Codes.Io(0x205),
        "A driver sends an IRP on that a lower driver still has.",
        static () => new IwForwardedWhileBelow())
    {
        Covers = ["DV-C9-0x205"],
        Instead = "Wait until the completion routine has brought the IRP back, then send it again.",
        Wrong = """
            IoCallDriver(lower, Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoCallDriver(lower, Irp);
            """,
        Right = """
            if (IoCallDriver(lower, Irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Elsewhere;

    public void On(in IrpForwarding e)
    {
        if (Tracker.Overtaken is not { } own || Tracker.Owner is not { } lower) return;
        Report(Tracker.Caller, own.Irp,
            $"{own} sent {own.Irp} down again while {lower} still has it. Wait until the completion routine has brought it back.");
    }
}
