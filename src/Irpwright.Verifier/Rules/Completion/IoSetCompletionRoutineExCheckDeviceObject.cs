namespace Irpwright.Verification.Rules;

/// <summary>The device object keeps its driver loaded until the routine has run (REG-13).</summary>
sealed class IoSetCompletionRoutineExCheckDeviceObject : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IoSetCompletionRoutineExCheckDeviceObject), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(IoSetCompletionRoutineExCheckDeviceObject)), null,
        "IoSetCompletionRoutineEx is called with a device object of another driver.",
        static () => new IoSetCompletionRoutineExCheckDeviceObject())
    {
        Instead = "Pass the driver's own device object, that of the dispatch routine.",
        Wrong = """
            IoSetCompletionRoutineEx(extension->LowerDevice, Irp, Done, NULL, TRUE, TRUE, TRUE);
            """,
        Right = """
            IoSetCompletionRoutineEx(DeviceObject, Irp, Done, NULL, TRUE, TRUE, TRUE);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoSetCompletionRoutineEx];

    public void Called(in DdiCalled e)
    {
        PDEVICE_OBJECT device = new(e.Arguments[0]);
        if (Tracker.CallingDriver is not { } caller || device.DriverObject == caller.Object) return;
        Report(Tracker.Caller, Tracker.At(e.Arguments[1])?.Name ?? default,
            $"{Tracker.Caller} called IoSetCompletionRoutineEx with a device of {Machine.Drivers.Find(device.DriverObject)?.Name ?? "no driver"}: "
                + "its own driver may be unloaded before the routine has run.");
    }
}
