namespace Irpwright.Verification.Rules;

/// <summary>A device can be pulled out at any time.</summary>
sealed class NsRemoveLockMnSurpriseRemove() : NotSupportedRule(IRP_MN_SURPRISE_REMOVAL, nameof(IRP_MN_SURPRISE_REMOVAL))
{
    public static RuleInfo Definition { get; } = new(nameof(NsRemoveLockMnSurpriseRemove), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(NsRemoveLockMnSurpriseRemove)), null,
        "A function or filter driver returns STATUS_NOT_SUPPORTED for IRP_MN_SURPRISE_REMOVAL.",
        static () => new NsRemoveLockMnSurpriseRemove())
    {
        Instead = "Set STATUS_SUCCESS, and send the request down.",
        Wrong = """
            case IRP_MN_SURPRISE_REMOVAL:
                Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_NOT_SUPPORTED;
            """,
        Right = """
            case IRP_MN_SURPRISE_REMOVAL:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };
}
