namespace Irpwright.Verification.Rules;

/// <summary>Who does not mind a removal sends the query on.</summary>
sealed class NsRemoveLockQueryMnRemove() : NotSupportedRule(IRP_MN_QUERY_REMOVE_DEVICE, nameof(IRP_MN_QUERY_REMOVE_DEVICE))
{
    public static RuleInfo Definition { get; } = new(nameof(NsRemoveLockQueryMnRemove), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(NsRemoveLockQueryMnRemove)), null,
        "A function or filter driver returns STATUS_NOT_SUPPORTED for IRP_MN_QUERY_REMOVE_DEVICE.",
        static () => new NsRemoveLockQueryMnRemove())
    {
        Instead = "Set STATUS_SUCCESS, and send the request down.",
        Wrong = """
            case IRP_MN_QUERY_REMOVE_DEVICE:
                Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_NOT_SUPPORTED;
            """,
        Right = """
            case IRP_MN_QUERY_REMOVE_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };
}
