namespace Irpwright.Verification.Rules;

/// <summary>Some requests only the bus knows the answer to.</summary>
sealed class IwAnsweredForBus : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwAnsweredForBus), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x218),
        "A function or filter driver sets the status of a PnP request that only bus drivers handle.",
        static () => new IwAnsweredForBus())
    {
        Covers = ["DV-C9-0x218"],
        Instead = "Send the request down untouched.",
        Wrong = """
            case IRP_MN_QUERY_BUS_INFORMATION:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
        Right = """
            case IRP_MN_QUERY_BUS_INFORMATION:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_PNP, LowerStatus: null } owner || !IsForBus(owner.MinorFunction) || owner.Below.IsNull) return;
        NTSTATUS status = e.Irp.IoStatus.Status;
        // A failure that is sent down is IwFailedPnpSentDown's.
        if (status < 0 || status == owner.EntryStatus || BusFilters.Contain(Machine, owner.Device, out _)) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} set the status of {owner.Irp} (minor function 0x{owner.MinorFunction:X2}) to {status.Name}, but only the bus driver answers it.");
    }

    static bool IsForBus(byte minor) => minor is IRP_MN_QUERY_RESOURCES or IRP_MN_QUERY_RESOURCE_REQUIREMENTS or IRP_MN_QUERY_DEVICE_TEXT
        or IRP_MN_QUERY_BUS_INFORMATION or IRP_MN_READ_CONFIG or IRP_MN_WRITE_CONFIG or IRP_MN_EJECT or IRP_MN_SET_LOCK;
}
