namespace Irpwright.Verification.Rules;

/// <summary>Every driver of the stack gets a PnP IRP, unless one fails it (PNP-02, PNP-07). Untouched: 0x22F.</summary>
sealed class PnpIrpCompletion : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(PnpIrpCompletion), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(PnpIrpCompletion)), Codes.Io(0x22E),
        "A driver other than the bus driver completes a PnP IRP, with success or untouched, instead of sending it down.",
        static () => new PnpIrpCompletion());

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not { Forwarded: false, Irp.MajorFunction: IRP_MJ_PNP } owner || !Tracker.IsCompletedByDriver) return;
        if (owner.Device.DeviceObjectExtension.AttachedTo.IsNull || (e.Status < 0 && e.Status != NTSTATUS.STATUS_NOT_SUPPORTED)) return;
        byte minor = Tracker.Irp.LocationAt(owner.Location).MinorFunction;
        if (minor is IRP_MN_QUERY_INTERFACE or IRP_MN_QUERY_STOP_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} completed {owner.Irp} (minor function 0x{minor:X2}) with {e.Status.Name} instead of sending it down. "
                + "Only the bus driver completes what no driver fails.");
    }
}
