namespace Irpwright.Verification.Rules;

/// <summary>For the device itself the bus driver answers, if nobody else.</summary>
sealed class IwPdoLeftUnanswered : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPdoLeftUnanswered), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x22A),
        "A bus driver completes a request about its PDO that it is required to handle with the status that it came with.",
        static () => new IwPdoLeftUnanswered())
    {
        Covers = ["DV-C9-0x22A"],
        Instead = "Handle the request, if only by setting STATUS_SUCCESS.",
        Wrong = """
            default:    /* also IRP_MN_QUERY_REMOVE_DEVICE */
                status = Irp->IoStatus.Status;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            case IRP_MN_QUERY_REMOVE_DEVICE:
                status = Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (e.Status != NTSTATUS.STATUS_NOT_SUPPORTED || Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_PNP } owner || !Tracker.IsCompletedByDriver) return;
        if (!owner.Below.IsNull || owner.EntryStatus != e.Status || !IsRequired(owner.MinorFunction) || Machine.PlugAndPlay.Find(owner.Device) is null) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} completed {owner.Irp} (minor function 0x{owner.MinorFunction:X2}) untouched, but a bus driver has to answer it for its device.");
    }

    static bool IsRequired(byte minor) => minor is IRP_MN_START_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE or IRP_MN_REMOVE_DEVICE or IRP_MN_CANCEL_REMOVE_DEVICE
        or IRP_MN_STOP_DEVICE or IRP_MN_QUERY_STOP_DEVICE or IRP_MN_CANCEL_STOP_DEVICE or IRP_MN_SURPRISE_REMOVAL or IRP_MN_QUERY_CAPABILITIES;
}
