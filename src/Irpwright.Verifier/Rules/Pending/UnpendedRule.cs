namespace Irpwright.Verification.Rules;

/// <summary>Some IRPs a function or filter driver is to pend, and to finish when the drivers below have done their part.</summary>
abstract class UnpendedRule : Rule, IWatch<DispatchReturned>
{
    public Situation When => Situation.Management;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (e.Status < 0 || (e.Status == NTSTATUS.STATUS_PENDING && visit.MayHaveMarked) || visit.LowerStatus < 0) return;
        if (!Concerns(visit) || visit.Device.DeviceObjectExtension.AttachedTo.IsNull) return;
        Report(visit.Place, visit.Irp, $"{visit} did not mark {visit.Irp} ({What}) pending, but returned {e.Status.Name}.");
    }

    /// <summary>Whether the IRP is one of the rule's.</summary>
    protected abstract bool Concerns(Visit visit);

    /// <summary>The IRP in words.</summary>
    protected abstract string What { get; }

    protected static bool IsSystemPower(Visit visit) =>
        visit.Irp.MajorFunction == IRP_MJ_POWER && visit.MinorFunction == IRP_MN_SET_POWER
            && visit.Parameters.Power.Type == POWER_STATE_TYPE.SystemPowerState;

    protected static bool IsWakeUp(Visit visit) =>
        IsSystemPower(visit) && visit.Parameters.Power.State.SystemState == SYSTEM_POWER_STATE.PowerSystemWorking;
}
