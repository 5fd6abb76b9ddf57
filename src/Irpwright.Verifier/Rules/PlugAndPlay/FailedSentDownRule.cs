namespace Irpwright.Verification.Rules;

/// <summary>Who fails a request of the PnP or power manager completes it (PNP-07).</summary>
abstract class FailedSentDownRule(byte major) : Rule, IWatch<IrpForwarded>
{
    public Situation When => Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Visit.Irp.MajorFunction != major || Tracker.Owner is null) return;
        NTSTATUS status = e.Irp.IoStatus.Status;
        if (status >= 0 || status == NTSTATUS.STATUS_NOT_SUPPORTED) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} failed {Tracker.Irp} with {status.Name}, and sent it down all the same. Complete it.");
    }
}
