namespace Irpwright.Verification.Rules;

/// <summary>A rule about dispatch routines that finish an IRP and keep the remove lock which they acquired with the IRP as tag.</summary>
/// <remarks>
/// The pages demand that no dispatch routine ends with the lock. A request that is pending keeps it rightly, and a tag that is no IRP may
/// stand for anything; what is left is an IRP that is over.
/// </remarks>
abstract class RemoveLockHeldRule : Rule, IWatch<DispatchReturned>
{
    private protected abstract bool Includes(byte majorFunction);

    public Situation When => Situation.RemoveLock;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (!visit.Passed || !Includes(visit.Irp.MajorFunction) || Tracker.RemoveLocks.Of(visit.Device) is not { IsRemoved: false } removeLock) return;
        foreach (RemoveLockHold hold in removeLock.Holds)
        {
            if (hold.Tag != visit.Irp.Address || hold.Irp.Use != visit.Irp.Use) continue;
            Report(visit.Place, visit.Irp, $"{visit} returned for {visit.Irp}, which is over, and has not released {removeLock}: its device can never be removed.");
            return;
        }
    }
}
