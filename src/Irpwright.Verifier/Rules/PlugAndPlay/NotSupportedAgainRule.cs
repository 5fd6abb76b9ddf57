namespace Irpwright.Verification.Rules;

/// <summary>STATUS_NOT_SUPPORTED says that nobody has handled the IRP; a driver leaves other statuses alone (PNP-07).</summary>
abstract class NotSupportedAgainRule(byte major) : Rule, IWatch<IrpCompleting>, IWatch<IrpForwarded>
{
    Situation IWatch<IrpForwarded>.When => Situation.Management;

    Situation IWatch<IrpCompleting>.When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (Tracker.IsCompletedByDriver) Check(e.Status);
    }

    public void On(in IrpForwarded e) => Check(e.Irp.IoStatus.Status);

    void Check(NTSTATUS status)
    {
        if (status != NTSTATUS.STATUS_NOT_SUPPORTED || Tracker.Owner is not { } owner || owner.Irp.MajorFunction != major) return;
        if (owner.LowerStatus is not null || owner.EntryStatus == status) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} changed the status of {owner.Irp} from {owner.EntryStatus.Name} to STATUS_NOT_SUPPORTED, which means "
                + "that nobody handled it.");
    }
}
