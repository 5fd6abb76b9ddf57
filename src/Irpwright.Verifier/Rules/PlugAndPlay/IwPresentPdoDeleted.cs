namespace Irpwright.Verification.Rules;

/// <summary>A device that is still plugged in keeps its PDO: it can be started again.</summary>
sealed class IwPresentPdoDeleted : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwPresentPdoDeleted), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x221),
        "A bus driver deletes a PDO at IRP_MN_REMOVE_DEVICE although it has not reported the device missing.",
        static () => new IwPresentPdoDeleted())
    {
        Covers = ["DV-C9-0x221"],
        Instead = "Delete the PDO only after the device was left out of an answer to the query for BusRelations, or when the bus itself is removed.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                IoDeleteDevice(DeviceObject);
            """,
        Right = """
            case IRP_MN_REMOVE_DEVICE:
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                if (extension->ReportedMissing) IoDeleteDevice(DeviceObject);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoDeleteDevice];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame?.Visit is not { } visit || e.Arguments[0] != visit.Device.Address || !visit.Below.IsNull) return;
        if (!visit.Is(IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE) || Machine.PlugAndPlay.Find(visit.Device) is not { IsPresent: true } node) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} deletes the PDO of {node} at {visit.Irp}, IRP_MN_REMOVE_DEVICE, but its bus still reports the device.");
    }
}
