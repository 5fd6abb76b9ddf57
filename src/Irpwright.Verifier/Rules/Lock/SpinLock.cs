namespace Irpwright.Verification.Rules;

/// <summary>Spin locks are released by the routine that acquired them.</summary>
sealed class SpinLock : Rule, IWatch<DispatchReturned>, IWatch<CompletionRoutineReturned>, IWatch<DpcReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(SpinLock), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(SpinLock)), Codes.Detected(0x00040009),
        "A dispatch, completion or DPC routine returns holding a spin lock that it acquired.",
        static () => new SpinLock());

    public void On(in DispatchReturned e) => Check();

    public void On(in CompletionRoutineReturned e) => Check();

    public void On(in DpcReturned e) => Check();

    void Check()
    {
        if (Tracker.Thread.SpinLockOfFrame is not (var held and not 0)) return;
        Report(Tracker.Frame.Place, Tracker.Frame.Irp, $"{Tracker.Frame} returned while holding the spin lock at {Format.Address(held)}.");
    }
}
