namespace Irpwright.Verification.Rules;

/// <summary>A remove lock lives as long as its device; to begin anew it forgets who holds it (RMLOCK-01).</summary>
sealed class IwRemoveLockReinitialized : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.IoInitializeRemoveLockEx];

    public static RuleInfo Definition { get; } = new(nameof(IwRemoveLockReinitialized), RuleFamily.RemoveLock, Error,
        Pages.Detected, Codes.Detected(0xD7),
        "IoInitializeRemoveLock is called a second time for the remove lock of a device.",
        static () => new IwRemoveLockReinitialized())
    {
        Covers = ["DV-C4-0xD7"],
        Instead = "Initialise the lock in AddDevice only.",
        Wrong = """
            case IRP_MN_START_DEVICE:
                IoInitializeRemoveLock(&Extension->RemoveLock, TAG, 0, 0);
            """,
        Right = """
            NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
            {
                IoInitializeRemoveLock(&Extension->RemoveLock, TAG, 0, 0);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.RemoveLocks.At(e.Arguments[0]) is not { Device.IsNull: false } removeLock) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} initialised {removeLock} anew.");
    }
}
