namespace Irpwright.Verification.Rules;

/// <summary>A rule about locks that the routine which acquired them has to release before it ends.</summary>
/// <param name="isMeant">Which locks.</param>
abstract class HeldAtReturnRule(Func<HeldLock, bool> isMeant) : Rule,
    IWatch<DispatchReturned>, IWatch<FastIoReturned>, IWatch<CompletionRoutineReturned>, IWatch<CancelRoutineReturned>, IWatch<DpcReturned>,
    IWatch<WorkItemReturned>
{
    Situation IWatch<DispatchReturned>.When => Situation.Unbalanced;

    Situation IWatch<CompletionRoutineReturned>.When => Situation.Unbalanced;

    public void On(in DispatchReturned e) => Check();

    public void On(in FastIoReturned e) => Check();

    public void On(in CompletionRoutineReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    public void On(in DpcReturned e) => Check();

    public void On(in WorkItemReturned e) => Check();

    void Check()
    {
        if (Tracker.Thread.HeldByFrame(isMeant) is { } held)
            Report(Tracker.Frame.Place, Tracker.Frame.Irp, $"{Tracker.Frame} returned while holding {held}.");
    }
}
