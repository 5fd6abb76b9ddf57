namespace Irpwright.Verification.Rules;

/// <summary>What tells of a removal, or that there is none, cannot be failed (PNP-04, PNP-07).</summary>
sealed class PnpRemove : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(PnpRemove), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(PnpRemove)), Codes.Detected(0x43006),
        "A driver completes IRP_MN_SURPRISE_REMOVAL, CANCEL_REMOVE_DEVICE, CANCEL_STOP_DEVICE or REMOVE_DEVICE with a failure status.",
        static () => new PnpRemove())
    {
        Covers = ["DV-C9-0x306"],
        Instead = "Set STATUS_SUCCESS, and send the request down.",
        Wrong = """
            case IRP_MN_REMOVE_DEVICE:
                Irp->IoStatus.Status = STATUS_DELETE_PENDING;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_DELETE_PENDING;
            """,
        Right = """
            case IRP_MN_REMOVE_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(lower, Irp);
                IoDetachDevice(lower);
                IoDeleteDevice(DeviceObject);
                return status;
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (e.Status >= 0 || Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_PNP, LowerStatus: null } owner || !Tracker.IsCompletedByDriver) return;
        string? minor = owner.MinorFunction switch
        {
            IRP_MN_SURPRISE_REMOVAL => nameof(IRP_MN_SURPRISE_REMOVAL),
            IRP_MN_CANCEL_REMOVE_DEVICE => nameof(IRP_MN_CANCEL_REMOVE_DEVICE),
            IRP_MN_CANCEL_STOP_DEVICE => nameof(IRP_MN_CANCEL_STOP_DEVICE),
            IRP_MN_REMOVE_DEVICE => nameof(IRP_MN_REMOVE_DEVICE),
            _ => null,
        };
        // Nobody handled it: that is the default, not a failure.
        if (minor is null || e.Status == NTSTATUS.STATUS_NOT_SUPPORTED) return;
        Report(Tracker.Caller, owner.Irp, $"{Tracker.Caller} failed {owner.Irp}, {minor}, with {e.Status.Name}: it cannot fail.");
    }
}
