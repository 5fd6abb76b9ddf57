namespace Irpwright.Verification.Rules;

/// <summary>Nobody can attach to a device that is being initialized, or open it.</summary>
sealed class IwLeftInitializing : AddedDeviceRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwLeftInitializing), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0x243),
        "An AddDevice routine returns with success, but has left DO_DEVICE_INITIALIZING set in its device.",
        static () => new IwLeftInitializing())
    {
        Covers = ["DV-C9-0x243", "CA-28152"],
        Instead = "Clear DO_DEVICE_INITIALIZING at the end of AddDevice.",
        Wrong = """
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            return STATUS_SUCCESS;
            """,
        Right = """
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            device->Flags &= ~DO_DEVICE_INITIALIZING;
            return STATUS_SUCCESS;
            """,
    };

    protected override string? Fault(PDEVICE_OBJECT device, PDEVICE_OBJECT lower) =>
        !lower.IsNull && (device.Flags & DO_FLAGS.DO_DEVICE_INITIALIZING) != 0 ? "left DO_DEVICE_INITIALIZING set in its device: nobody can open it, or attach to it" : null;
}
