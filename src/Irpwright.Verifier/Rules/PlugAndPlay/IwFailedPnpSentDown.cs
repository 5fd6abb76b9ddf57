namespace Irpwright.Verification.Rules;

/// <summary>Who fails a PnP IRP completes it.</summary>
sealed class IwFailedPnpSentDown() : FailedSentDownRule(IRP_MJ_PNP)
{
    public static RuleInfo Definition { get; } = new(nameof(IwFailedPnpSentDown), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x215),
        "A PnP IRP is sent down with a failure status other than STATUS_NOT_SUPPORTED.",
        static () => new IwFailedPnpSentDown())
    {
        Covers = ["DV-C9-0x215"],
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
