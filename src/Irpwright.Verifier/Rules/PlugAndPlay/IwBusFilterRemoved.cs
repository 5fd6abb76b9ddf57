namespace Irpwright.Verification.Rules;

/// <summary>A bus filter stays as long as the PDO below it.</summary>
sealed class IwBusFilterRemoved : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwBusFilterRemoved), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x222),
        "A bus filter detaches its device at IRP_MN_REMOVE_DEVICE, to delete it, although the PDO stays.",
        static () => new IwBusFilterRemoved())
    {
        Covers = ["DV-C9-0x222", "DV-C9-0x223"],
        Instead = "Detach and delete the device in the FastIoDetachDevice routine, which is called when the PDO is deleted.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                status = IoCallDriver(lower, Irp);
                IoDetachDevice(lower);
                IoDeleteDevice(DeviceObject);
            """,
        Right = """
            case IRP_MN_REMOVE_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoDetachDevice];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame?.Visit is not { } visit || visit.Below.IsNull || e.Arguments[0] != visit.Below.Address) return;
        if (!visit.Is(IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE) || !BusFilters.Contain(Machine, visit.Device, out DeviceNode? node) || !node!.IsPresent) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} is a bus filter of {node}, and detaches its device at {visit.Irp}, IRP_MN_REMOVE_DEVICE, although the PDO stays.");
    }
}
