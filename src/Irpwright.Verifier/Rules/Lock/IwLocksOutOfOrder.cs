namespace Irpwright.Verification.Rules;

/// <summary>The lock that was acquired last is released first; else IRQLs are restored in the wrong order.</summary>
sealed class IwLocksOutOfOrder : Rule, IWatch<SpinLockReleased>, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [.. LockRoutine.All(acquiring: false)];

    public static RuleInfo Definition { get; } = new(nameof(IwLocksOutOfOrder), RuleFamily.Lock, Advice,
        Pages.Detected, Codes.Detected(0x1003),
        "A lock is released before one that the same routine acquired later.",
        static () => new IwLocksOutOfOrder())
    {
        Covers = ["DV-C4-0x1003"],
        Instead = "Release locks in the opposite order of their acquisition.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Outer, &irql);
            KeAcquireSpinLockAtDpcLevel(&Extension->Inner);
            KeReleaseSpinLock(&Extension->Outer, irql); // the inner one is held at a low IRQL now
            KeReleaseSpinLockFromDpcLevel(&Extension->Inner);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Outer, &irql);
            KeAcquireSpinLockAtDpcLevel(&Extension->Inner);
            KeReleaseSpinLockFromDpcLevel(&Extension->Inner);
            KeReleaseSpinLock(&Extension->Outer, irql);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e) => Check(e.Arguments[0]);

    public void On(in SpinLockReleased e) => Check(e.SpinLock.Address);

    void Check(ulong address)
    {
        ReadOnlySpan<HeldLock> held = Tracker.Thread.Locks;
        if (held.IsEmpty || held[^1].Address == address) return;
        foreach (HeldLock earlier in held)
        {
            if (earlier.Address != address || earlier.Depth != held[^1].Depth) continue;
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} released {earlier} before {held[^1]}, which it acquired later.");
            return;
        }
    }
}
