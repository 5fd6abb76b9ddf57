namespace Irpwright.Verification.Rules;

/// <summary>The status says who has handled a request; the function driver of a device is asked before all others (PNP-07).</summary>
sealed class IwPnpLeftUnhandled : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPnpLeftUnhandled), RuleFamily.PlugAndPlay, Warning,
        Pages.IoVerification, Codes.Io(0x217),
        "A function driver sends a request to stop or remove its device, or the question for it, down for good with the status that it came with.",
        static () => new IwPnpLeftUnhandled())
    {
        Covers = ["DV-C9-0x217"],
        Instead = "Set STATUS_SUCCESS before the request is sent down, or fail it.",
        Wrong = """
            case IRP_MN_QUERY_STOP_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
        Right = """
            case IRP_MN_QUERY_STOP_DEVICE:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_PNP, LowerStatus: null } owner || !IsRequired(owner.MinorFunction)) return;
        if (e.Irp.IoStatus.Status != NTSTATUS.STATUS_NOT_SUPPORTED || owner.EntryStatus != NTSTATUS.STATUS_NOT_SUPPORTED) return;
        // A completion routine of its own might still handle it.
        if (!owner.Skipped && (e.Irp.Tail.Overlay.CurrentStackLocation.Control & IrpRecord.Invoke) != 0) return;
        if (Machine.PlugAndPlay.FindByStack(owner.Device)?.Installation?.Function?.Loaded?.Object != owner.Driver) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} sent {owner.Irp} (minor function 0x{owner.MinorFunction:X2}) down untouched, but the function driver of a device has to handle it.");
    }

    // What is handled on the way down.
    static bool IsRequired(byte minor) => minor is IRP_MN_QUERY_STOP_DEVICE or IRP_MN_STOP_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE or IRP_MN_REMOVE_DEVICE
        or IRP_MN_SURPRISE_REMOVAL;
}
