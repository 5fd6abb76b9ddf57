namespace Irpwright.Verification.Rules;

/// <summary>A held lock contains its owner; who releases another one's lock lets two in at once (IRQL-04).</summary>
sealed class SpinlockRelease : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.KeReleaseSpinLock, KernelExports.KeReleaseSpinLockFromDpcLevel];

    public static RuleInfo Definition { get; } = new(nameof(SpinlockRelease), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(SpinlockRelease)), Codes.Detected(0x0004000B),
        "A spin lock is released that nobody has acquired, or that was acquired by another thread.",
        static () => new SpinlockRelease())
    {
        Covers = ["DV-C4-0x1004", "DV-C4-0x1007"],
        Instead = "Release each lock once, in the routine that acquired it.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            if (IsListEmpty(&Extension->List)) KeReleaseSpinLock(&Extension->Lock, irql);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            isEmpty = IsListEmpty(&Extension->List);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        ulong owner = GuestMemory.Ref<ulong>(e.Arguments[0]) & ~1ul;
        if (owner == Tracker.Thread.Thread.Object.Address) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} released the spin lock at {Format.Address(e.Arguments[0])}, which {(owner == 0 ? "nobody" : "another thread")} holds.");
    }
}
