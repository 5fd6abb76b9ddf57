namespace Irpwright.Verification.Rules;

/// <summary>AddDevice says which stack the device belongs to.</summary>
sealed class PnpSameDeviceObject : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(PnpSameDeviceObject), RuleFamily.Device, Warning,
        Pages.Wdm(nameof(PnpSameDeviceObject)), null,
        "An AddDevice routine attaches its device to a device that is not in the stack of the PDO that it was called for.",
        static () => new PnpSameDeviceObject())
    {
        Instead = "Pass the PhysicalDeviceObject argument of AddDevice to IoAttachDeviceToDeviceStack.",
        Wrong = """
            lower = IoAttachDeviceToDeviceStack(device, otherDevice);
            """,
        Right = """
            lower = IoAttachDeviceToDeviceStack(device, PhysicalDeviceObject);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoAttachDeviceToDeviceStack, KernelExports.IoAttachDeviceToDeviceStackSafe];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.AddDevice } running) return;
        for (PDEVICE_OBJECT device = running.PhysicalDevice; !device.IsNull; device = device.AttachedDevice)
        {
            if (device.Address == e.Arguments[1]) return;
        }
        Report(Tracker.Caller, default, $"{Tracker.Caller} attaches to the device at {Format.Address(e.Arguments[1])}, which is not in the stack that AddDevice was called for.");
    }
}
