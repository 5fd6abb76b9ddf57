namespace Irpwright.Verification.Rules;

/// <summary>A device that is removed is deleted.</summary>
sealed class IwRemovedUndeleted : UnfinishedRemovalRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwRemovedUndeleted), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x21E),
        "A function or filter driver handles IRP_MN_REMOVE_DEVICE without deleting its device object.",
        static () => new IwRemovedUndeleted())
    {
        Covers = ["DV-C9-0x21E"],
        Instead = "When IoCallDriver has returned, call IoDetachDevice for the device below and IoDeleteDevice for the own one.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(lower, Irp);
                IoDetachDevice(lower);
                return status;
            """,
        Right = """
            case IRP_MN_REMOVE_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(lower, Irp);
                IoDetachDevice(lower);
                IoDeleteDevice(DeviceObject);
                return status;
            """,
    };

    protected override string? Left(bool isAttached) => isAttached ? null : "did not delete its device object";
}
