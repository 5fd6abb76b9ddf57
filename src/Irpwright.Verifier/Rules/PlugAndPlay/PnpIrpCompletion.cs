namespace Irpwright.Verification.Rules;

/// <summary>Only the bus driver completes a PnP IRP that no driver fails. Not understood: 0x22D; untouched: 0x22F.</summary>
sealed class PnpIrpCompletion() : CompletedAboveBusRule(IRP_MJ_PNP)
{
    public static RuleInfo Definition { get; } = new(nameof(PnpIrpCompletion), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(PnpIrpCompletion)), Codes.Io(0x22E),
        "A driver other than the bus driver completes a PnP IRP, with success or untouched, instead of sending it down.",
        static () => new PnpIrpCompletion())
    {
        Covers = ["DV-C9-0x22D", "DV-C9-0x22E", "DV-C9-0x22F"],
        Instead = "Send the request to the next lower driver; complete it there only if it fails.",
        Wrong = """
            case IRP_MN_START_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_SUCCESS;
            """,
        Right = """
            case IRP_MN_START_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    protected override bool MayComplete(byte minor) => minor is IRP_MN_QUERY_INTERFACE or IRP_MN_QUERY_STOP_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE;
}
