namespace Irpwright.Verification.Rules;

/// <summary>A filter looks from above like what it filters.</summary>
sealed class IwDeviceTypeNotCopied : AddedDeviceRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwDeviceTypeNotCopied), RuleFamily.Device, Advice,
        Pages.IoVerification, Codes.Io(0x246),
        "A filter attaches to a device of another DeviceType than that of its own.",
        static () => new IwDeviceTypeNotCopied())
    {
        Covers = ["DV-C9-0x246"],
        Instead = "Give the filter's device the DeviceType of the device below.",
        Wrong = """
            IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            """,
        Right = """
            IoCreateDevice(driver, 0, NULL, top->DeviceType, 0, FALSE, &device);
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            """,
    };

    protected override string? Fault(PDEVICE_OBJECT device, PDEVICE_OBJECT lower) =>
        AttachedAbove(lower) && lower.DeviceType != device.DeviceType ? $"made a device of type 0x{device.DeviceType:X}, but that below is of type 0x{lower.DeviceType:X}" : null;

    // The device of a function driver, right above the PDO, has flags and a type of its own.
    static bool AttachedAbove(PDEVICE_OBJECT lower) => !lower.IsNull && !lower.DeviceObjectExtension.AttachedTo.IsNull;
}
