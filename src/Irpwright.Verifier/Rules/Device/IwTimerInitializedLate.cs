namespace Irpwright.Verification.Rules;

/// <summary>A timer belongs to the device from the beginning.</summary>
sealed class IwTimerInitializedLate : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwTimerInitializedLate), RuleFamily.Device, Advice,
        Pages.Ddi("nf-wdm-ioinitializetimer"), null,
        "IoInitializeTimer is called while a request is handled.",
        static () => new IwTimerInitializedLate())
    {
        Covers = ["CA-28133"],
        Instead = "Call IoInitializeTimer in AddDevice; start and stop the timer with IoStartTimer and IoStopTimer.",
        Wrong = """
            case IRP_MN_START_DEVICE:
                IoInitializeTimer(DeviceObject, OnTimer, NULL);
                IoStartTimer(DeviceObject);
            """,
        Right = """
            case IRP_MN_START_DEVICE:
                IoStartTimer(DeviceObject);    /* initialized in AddDevice */
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoInitializeTimer];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch or RoutineKind.Completion } running) return;
        Report(Tracker.Caller, running.Irp, $"{Tracker.Caller} called IoInitializeTimer while it handles {running.Irp}; AddDevice is the place for it.");
    }
}
