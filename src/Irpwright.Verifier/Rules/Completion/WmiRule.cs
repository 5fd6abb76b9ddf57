namespace Irpwright.Verification.Rules;

/// <summary>
/// A WMI request is for the device whose address is its ProviderId: that one completes it, all others send it down. WmiSystemControl says
/// the same with its disposition.
/// </summary>
abstract class WmiRule(bool forOwnDevice) : Rule, IWatch<DispatchReturned>
{
    public Situation When => Situation.Management | Situation.Unfinished;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (visit.Irp.MajorFunction != IRP_MJ_SYSTEM_CONTROL || visit.Passed || visit.Forwarded || visit.Completed || visit.MayHaveMarked) return;
        if (visit.MinorFunction > IRP_MN_REGINFO_EX || visit.Parameters.WMI.ProviderId == visit.Device.Address != forOwnDevice) return;
        Report(visit.Place, visit.Irp, forOwnDevice
            ? $"{visit} neither completed {visit.Irp} nor sent it on, although it is for its own device."
            : $"{visit} did not send {visit.Irp} on, which is for another device.");
    }
}
