namespace Irpwright.Verification.Rules;

/// <summary>A rule about a region in which APCs are disabled: a routine leaves what it has entered, and nothing else.</summary>
/// <remarks>Completion routines and DPCs have rules of their own.</remarks>
abstract class RegionRule(KernelExport leave, string region) : Rule, IWatchCalls,
    IWatch<DispatchReturned>, IWatch<FastIoReturned>, IWatch<CancelRoutineReturned>
{
    /// <summary>How deep a thread is in regions of this kind, by its CombinedApcDisable: 0, or below.</summary>
    private protected abstract short NestingOf(uint disabled);

    public IReadOnlyList<KernelExport> Calls { get; } = [leave];

    Situation IWatch<DispatchReturned>.When => Situation.Unbalanced;

    public void Called(in DdiCalled e)
    {
        short now = NestingOf(Tracker.Thread.Thread.ApcDisable);
        RoutineFrame? frame = Tracker.Thread.Frame;
        if (now < (frame is { GotOtherApcDisable: false } ? NestingOf(frame.ApcDisable) : 0)) return;
        Report(Tracker.Caller, frame?.Irp ?? default, $"{Tracker.Caller} left a {region} region that it had not entered.");
    }

    public void On(in DispatchReturned e) => Check();

    public void On(in FastIoReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    // One too few was reported when the region was left; a mutex that is still owned is another rule's.
    void Check()
    {
        RoutineFrame frame = Tracker.Frame;
        if (NestingOf(Tracker.Thread.Thread.ApcDisable) >= NestingOf(frame.ApcDisable) || frame.GotOtherApcDisable) return;
        if (Tracker.Thread.HeldByFrame(static held => held.Kind is LockKind.Mutex or LockKind.GuardedMutex) is not null) return;
        Report(frame.Place, frame.Irp, $"{frame} returned in a {region} region that it had entered.");
    }
}
