namespace Irpwright.Verification.Rules;

/// <summary>A status that a driver above has set on a power IRP stays.</summary>
sealed class IwPowerNotSupportedAgain() : NotSupportedAgainRule(IRP_MJ_POWER)
{
    public static RuleInfo Definition { get; } = new(nameof(IwPowerNotSupportedAgain), RuleFamily.Power, Error,
        Pages.IoVerification, Codes.Io(0x21A),
        "A driver sets the status of a power IRP, which a driver above had handled, to STATUS_NOT_SUPPORTED.",
        static () => new IwPowerNotSupportedAgain())
    {
        Covers = ["DV-C9-0x21A"],
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
