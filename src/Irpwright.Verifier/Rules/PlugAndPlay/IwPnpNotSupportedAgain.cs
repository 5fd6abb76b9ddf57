namespace Irpwright.Verification.Rules;

/// <summary>A status that a driver above has set on a PnP IRP stays.</summary>
sealed class IwPnpNotSupportedAgain() : NotSupportedAgainRule(IRP_MJ_PNP)
{
    public static RuleInfo Definition { get; } = new(nameof(IwPnpNotSupportedAgain), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x216),
        "A driver sets the status of a PnP IRP, which a driver above had handled, to STATUS_NOT_SUPPORTED.",
        static () => new IwPnpNotSupportedAgain())
    {
        Covers = ["DV-C9-0x216"],
        Instead = "Leave the status alone when the driver does not handle the request.",
        Wrong = """
            default:
                Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
        Right = """
            default:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };
}
