namespace Irpwright.Verification.Rules;

/// <summary>Every driver of the stack gets a request of the PnP or power manager, unless one fails it (PNP-02, PNP-07).</summary>
abstract class CompletedAboveBusRule(byte major) : Rule, IWatch<IrpCompleting>
{
    public Situation When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not { Forwarded: false } owner || owner.Irp.MajorFunction != major || !Tracker.IsCompletedByDriver) return;
        if (owner.Below.IsNull || (e.Status < 0 && e.Status != NTSTATUS.STATUS_NOT_SUPPORTED) || MayComplete(owner.MinorFunction)) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} completed {owner.Irp} (minor function 0x{owner.MinorFunction:X2}) with {e.Status.Name} instead of sending it down. "
                + "Only the bus driver completes what no driver fails.");
    }

    protected virtual bool MayComplete(byte minor) => false;
}
