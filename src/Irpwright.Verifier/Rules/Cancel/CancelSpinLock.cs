namespace Irpwright.Verification.Rules;

/// <summary>The cancel spin lock is acquired and released in turns (CANCEL-11, CANCEL-03).</summary>
sealed class CancelSpinLock : Rule, IWatchCalls, IWatch<DispatchReturned>, IWatch<CancelRoutineReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(CancelSpinLock), RuleFamily.Cancel, Error,
        Pages.Wdm(nameof(CancelSpinLock)), null,
        "IoReleaseCancelSpinLock is called without the lock, IoAcquireCancelSpinLock with it, or a dispatch or cancel routine returns with it.",
        static () => new CancelSpinLock())
    {
        Covers = ["CancelSpinlockRelease"],
        Instead = "Release the lock once for each acquisition, on every path; a cancel routine releases what IoCancelIrp acquired, with Irp->CancelIrql.",
        Wrong = """
            IoAcquireCancelSpinLock(&irql);
            if (Irp->Cancel) return STATUS_CANCELLED;
            IoReleaseCancelSpinLock(irql);
            """,
        Right = """
            IoAcquireCancelSpinLock(&irql);
            cancelled = Irp->Cancel;
            IoReleaseCancelSpinLock(irql);
            if (cancelled) return STATUS_CANCELLED;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoAcquireCancelSpinLock, KernelExports.IoReleaseCancelSpinLock];

    ulong Lock => Machine.Cancellation.SpinLock.Address;

    Situation IWatch<DispatchReturned>.When => Situation.Unbalanced;

    public void Called(in DdiCalled e)
    {
        bool acquires = e.Export == KernelExports.IoAcquireCancelSpinLock;
        if (Tracker.Thread.Holds(Lock) != acquires) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, acquires
            ? $"{Tracker.Caller} acquires the cancel spin lock, which it holds already: it spins for ever."
            : $"{Tracker.Caller} releases the cancel spin lock without holding it.");
    }

    public void On(in DispatchReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    void Check()
    {
        if (Tracker.Thread.SpinLockOfFrame is not (var held and not 0) || held != Lock) return;
        Report(Tracker.Frame.Place, Tracker.Frame.Irp, $"{Tracker.Frame} returned while holding the cancel spin lock: nobody can cancel anything any more.");
    }
}
