namespace Irpwright.Verification.Rules;

/// <summary>A device has one timer.</summary>
sealed class IwTimerInitializedTwice : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwTimerInitializedTwice), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0xA),
        "IoInitializeTimer is called for a device that has a timer.",
        static () => new IwTimerInitializedTwice())
    {
        Covers = ["DV-C9-0x0A"],
        Instead = "Call IoInitializeTimer once for each device, in AddDevice.",
        Wrong = """
            case IRP_MN_START_DEVICE:
                IoInitializeTimer(DeviceObject, OnTimer, NULL);
            """,
        Right = """
            NTSTATUS AddDevice(PDRIVER_OBJECT driver, PDEVICE_OBJECT pdo) {
                ...
                IoInitializeTimer(device, OnTimer, NULL);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoInitializeTimer];

    public void Called(in DdiCalled e)
    {
        if (new PDEVICE_OBJECT(e.Arguments[0]).Timer.IsNull) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called IoInitializeTimer for the device at {Format.Address(e.Arguments[0])}, which has a timer.");
    }
}
