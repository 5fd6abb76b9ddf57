namespace Irpwright.Verification.Rules;

/// <summary>Who fails a power IRP completes it.</summary>
sealed class IwFailedPowerSentDown() : FailedSentDownRule(IRP_MJ_POWER)
{
    public static RuleInfo Definition { get; } = new(nameof(IwFailedPowerSentDown), RuleFamily.Power, Error,
        Pages.IoVerification, Codes.Io(0x219),
        "A power IRP is sent down with a failure status other than STATUS_NOT_SUPPORTED.",
        static () => new IwFailedPowerSentDown())
    {
        Covers = ["DV-C9-0x219"],
        Instead = "Complete the request where it fails.",
        Wrong = """
            Irp->IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            Irp->IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_INSUFFICIENT_RESOURCES;
            """,
    };
}
