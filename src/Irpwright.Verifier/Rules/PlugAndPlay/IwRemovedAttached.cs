namespace Irpwright.Verification.Rules;

/// <summary>A device that is removed leaves its stack.</summary>
sealed class IwRemovedAttached : UnfinishedRemovalRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwRemovedAttached), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x21D),
        "A function or filter driver handles IRP_MN_REMOVE_DEVICE without detaching its device from the one below.",
        static () => new IwRemovedAttached())
    {
        Covers = ["DV-C9-0x21D"],
        Instead = "When IoCallDriver has returned, call IoDetachDevice for the device below and IoDeleteDevice for the own one.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
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

    protected override string? Left(bool isAttached) => isAttached ? "left its device attached to the one below" : null;
}
