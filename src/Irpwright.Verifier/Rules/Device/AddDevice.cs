namespace Irpwright.Verification.Rules;

/// <summary>Every device of the driver gets a device object of its own.</summary>
sealed class AddDevice : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(AddDevice), RuleFamily.Device, Error,
        Pages.Wdm(nameof(AddDevice)), null,
        "An AddDevice routine attaches a device object without having created one.",
        static () => new AddDevice())
    {
        Instead = "Call IoCreateDevice in AddDevice, for each device anew.",
        Wrong = """
            NTSTATUS AddDevice(PDRIVER_OBJECT driver, PDEVICE_OBJECT pdo) {
                lower = IoAttachDeviceToDeviceStack(madeInDriverEntry, pdo);
            """,
        Right = """
            NTSTATUS AddDevice(PDRIVER_OBJECT driver, PDEVICE_OBJECT pdo) {
                IoCreateDevice(driver, sizeof(EXTENSION), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
                lower = IoAttachDeviceToDeviceStack(device, pdo);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoAttachDeviceToDeviceStack, KernelExports.IoAttachDeviceToDeviceStackSafe];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.AddDevice, Created.IsNull: true }) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called {e.Export.SourceName} without having created a device object for this device.");
    }
}
