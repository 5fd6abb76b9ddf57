namespace Irpwright.Verification.Rules;

/// <summary>A set-power request tells what happens; it does not ask.</summary>
abstract class PowerFailRule(bool up) : Rule, IWatch<IrpCompleting>
{
    public Situation When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (e.Status >= 0 || Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_POWER, LowerStatus: null } owner || !Tracker.IsCompletedByDriver) return;
        // Nobody handled it: that is IwPowerIrpCompletion's.
        if (e.Status == NTSTATUS.STATUS_NOT_SUPPORTED || owner.MinorFunction != IRP_MN_SET_POWER || owner.Below.IsNull || IsUp(owner) != up) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} failed {owner.Irp}, which takes the {(IsSystem(owner) ? "system" : "device")} {(up ? "up" : "down")}, with {e.Status.Name}.");
    }

    static bool IsSystem(Visit visit) => visit.Parameters.Power.Type == POWER_STATE_TYPE.SystemPowerState;

    static bool IsUp(Visit visit)
    {
        POWER_STATE state = visit.Parameters.Power.State;
        return IsSystem(visit) ? state.SystemState <= SYSTEM_POWER_STATE.PowerSystemWorking : state.DeviceState <= DEVICE_POWER_STATE.PowerDeviceD0;
    }
}
