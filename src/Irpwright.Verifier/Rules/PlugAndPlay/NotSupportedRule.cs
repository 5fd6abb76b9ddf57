namespace Irpwright.Verification.Rules;

/// <summary>Some PnP requests every function and filter driver supports.</summary>
abstract class NotSupportedRule(byte minor, string name) : Rule, IWatch<DispatchReturned>
{
    public Situation When => Situation.Management;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (e.Status != NTSTATUS.STATUS_NOT_SUPPORTED || !visit.Is(IRP_MJ_PNP, minor) || visit.Below.IsNull) return;
        // What the drivers below say is theirs to answer for.
        if (visit.LowerStatus == e.Status) return;
        Report(visit.Place, visit.Irp, $"{visit} returned STATUS_NOT_SUPPORTED for {visit.Irp}, {name}, which every function and filter driver supports.");
    }
}
