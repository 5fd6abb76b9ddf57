namespace Irpwright.Verification.Rules;

/// <summary>Only the bus driver completes a power IRP that no driver fails. Not understood: 0x230; untouched: 0x232.</summary>
sealed class IwPowerIrpCompletion() : CompletedAboveBusRule(IRP_MJ_POWER)
{
    public static RuleInfo Definition { get; } = new(nameof(IwPowerIrpCompletion), RuleFamily.Power, Error,
        Pages.IoVerification, Codes.Io(0x231),
        "A driver other than the bus driver completes a power IRP, with success or untouched, instead of sending it down.",
        static () => new IwPowerIrpCompletion())
    {
        Covers = ["DV-C9-0x230", "DV-C9-0x231", "DV-C9-0x232"],
        Instead = "Send the request to the next lower driver.",
        Wrong = """
            case IRP_MN_SET_POWER:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_SUCCESS;
            """,
        Right = """
            case IRP_MN_SET_POWER:
                IoSkipCurrentIrpStackLocation(Irp);
                return PoCallDriver(lower, Irp);
            """,
    };
}
