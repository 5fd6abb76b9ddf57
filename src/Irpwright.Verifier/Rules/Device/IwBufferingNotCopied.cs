namespace Irpwright.Verification.Rules;

/// <summary>The top device decides how all drivers of the stack get their buffers.</summary>
sealed class IwBufferingNotCopied : AddedDeviceRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwBufferingNotCopied), RuleFamily.Device, Warning,
        Pages.IoVerification, Codes.Io(0x244),
        "A filter attaches to a device with DO_BUFFERED_IO or DO_DIRECT_IO, and sets neither in its own.",
        static () => new IwBufferingNotCopied())
    {
        Covers = ["DV-C9-0x244"],
        Instead = "Copy DO_BUFFERED_IO and DO_DIRECT_IO from the device below.",
        Wrong = """
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            device->Flags &= ~DO_DEVICE_INITIALIZING;
            """,
        Right = """
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            device->Flags |= lower->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO);
            device->Flags &= ~DO_DEVICE_INITIALIZING;
            """,
    };

    protected override string? Fault(PDEVICE_OBJECT device, PDEVICE_OBJECT lower) =>
        AttachedAbove(lower) && (lower.Flags & Buffering) != 0 && (device.Flags & Buffering) == 0
            ? "copied neither DO_BUFFERED_IO nor DO_DIRECT_IO from the device below" : null;

    const DO_FLAGS Buffering = DO_FLAGS.DO_BUFFERED_IO | DO_FLAGS.DO_DIRECT_IO;

    // The device of a function driver, right above the PDO, has flags and a type of its own.
    static bool AttachedAbove(PDEVICE_OBJECT lower) => !lower.IsNull && !lower.DeviceObjectExtension.AttachedTo.IsNull;
}
