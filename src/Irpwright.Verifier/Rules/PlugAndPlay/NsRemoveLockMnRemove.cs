namespace Irpwright.Verification.Rules;

/// <summary>A driver that does not support removal can never be removed.</summary>
sealed class NsRemoveLockMnRemove() : NotSupportedRule(IRP_MN_REMOVE_DEVICE, nameof(IRP_MN_REMOVE_DEVICE))
{
    public static RuleInfo Definition { get; } = new(nameof(NsRemoveLockMnRemove), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(NsRemoveLockMnRemove)), null,
        "A function or filter driver returns STATUS_NOT_SUPPORTED for IRP_MN_REMOVE_DEVICE.",
        static () => new NsRemoveLockMnRemove())
    {
        Instead = "Set STATUS_SUCCESS, and send the request down.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_NOT_SUPPORTED;
            """,
        Right = """
            case IRP_MN_REMOVE_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };
}
