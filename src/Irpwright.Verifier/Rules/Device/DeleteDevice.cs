namespace Irpwright.Verification.Rules;

/// <summary>Nobody keeps a device object alive for its driver.</summary>
sealed class DeleteDevice : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(DeleteDevice), RuleFamily.Device, Warning,
        Pages.Wdm(nameof(DeleteDevice)), null,
        "A function or filter driver deletes its device at IRP_MN_REMOVE_DEVICE before the drivers below have had the request.",
        static () => new DeleteDevice())
    {
        Instead = "Call IoDeleteDevice after IoCallDriver has returned.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                IoDetachDevice(lower);
                IoDeleteDevice(DeviceObject);
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
        Right = """
            case IRP_MN_REMOVE_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(lower, Irp);
                IoDetachDevice(lower);
                IoDeleteDevice(DeviceObject);
                return status;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoDeleteDevice];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { LowerStatus: null, Completed: false } visit } || e.Arguments[0] != visit.Device.Address) return;
        if (visit.Below.IsNull || !visit.Is(IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE)) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} deletes its device before {visit.Irp}, IRP_MN_REMOVE_DEVICE, has come back from the drivers below.");
    }
}
