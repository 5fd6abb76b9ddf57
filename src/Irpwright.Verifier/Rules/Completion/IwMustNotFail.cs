namespace Irpwright.Verification.Rules;

/// <summary>Some requests only tell of what happens anyway.</summary>
sealed class IwMustNotFail : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwMustNotFail), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x247),
        "A driver fails an IRP that may not be failed: close, cleanup, stop, or (at the bottom of a stack) set-power of the system.",
        static () => new IwMustNotFail())
    {
        Covers = ["DV-C9-0x247"],
        Instead = "Complete the request with success, or send it down.",
        Wrong = """
            case IRP_MN_STOP_DEVICE:
                Irp->IoStatus.Status = STATUS_UNSUCCESSFUL;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            case IRP_MN_STOP_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (e.Status >= 0 || Tracker.Owner is not { LowerStatus: null } owner || !Tracker.IsCompletedByDriver) return;
        // Nobody handled it: that is the default, not a failure.
        if (e.Status == NTSTATUS.STATUS_NOT_SUPPORTED || !MustSucceed(owner)) return;
        Report(Tracker.Caller, owner.Irp, $"{Tracker.Caller} failed {owner.Irp} (minor function 0x{owner.MinorFunction:X2}) with {e.Status.Name}: it cannot be failed.");
    }

    // What tells of removals is PnpRemove's; power is PowerUpFail's and PowerDownFail's where there is a driver below.
    static bool MustSucceed(Visit visit) => visit.Irp.MajorFunction switch
    {
        IRP_MJ_CLOSE or IRP_MJ_CLEANUP => true,
        IRP_MJ_PNP => visit.MinorFunction == IRP_MN_STOP_DEVICE,
        IRP_MJ_POWER => visit.Below.IsNull && visit.IsSetPower(POWER_STATE_TYPE.SystemPowerState),
        _ => false,
    };
}
