namespace Irpwright.Verification.Rules;

/// <summary>Who calls a pageable driver must not be called at DISPATCH_LEVEL itself.</summary>
sealed class IwPowerPagableNotInherited : AddedDeviceRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwPowerPagableNotInherited), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0x23F),
        "An AddDevice routine attaches to a device with DO_POWER_PAGABLE, and does not set that flag in its own.",
        static () => new IwPowerPagableNotInherited())
    {
        Covers = ["DV-C9-0x23F"],
        Instead = "Copy DO_POWER_PAGABLE from the device below.",
        Wrong = """
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            device->Flags &= ~DO_DEVICE_INITIALIZING;
            """,
        Right = """
            lower = IoAttachDeviceToDeviceStack(device, pdo);
            device->Flags |= lower->Flags & DO_POWER_PAGABLE;
            device->Flags &= ~DO_DEVICE_INITIALIZING;
            """,
    };

    protected override string? Fault(PDEVICE_OBJECT device, PDEVICE_OBJECT lower) =>
        !lower.IsNull && (lower.Flags & DO_FLAGS.DO_POWER_PAGABLE) != 0 && (device.Flags & (DO_FLAGS.DO_POWER_PAGABLE | DO_FLAGS.DO_POWER_INRUSH)) == 0
            ? "did not set DO_POWER_PAGABLE in its device, which the device below has" : null;
}
