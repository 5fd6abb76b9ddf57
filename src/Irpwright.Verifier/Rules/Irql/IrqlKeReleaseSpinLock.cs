namespace Irpwright.Verification.Rules;

/// <summary>A spin lock's holder runs at DISPATCH_LEVEL, and goes back to where it was (IRQL-04).</summary>
sealed class IrqlKeReleaseSpinLock() : IrqlRule(DISPATCH_LEVEL, DISPATCH_LEVEL, Exports("KeReleaseSpinLock"))
{
    public static RuleInfo Definition { get; } = new(nameof(IrqlKeReleaseSpinLock), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeReleaseSpinLock)), Codes.Detected(0x00020015),
        "KeReleaseSpinLock is called at another IRQL than DISPATCH_LEVEL, or with another NewIrql than the IRQL before KeAcquireSpinLock.",
        static () => new IrqlKeReleaseSpinLock())
    {
        Covers = ["DV-C4-0x32", "DV-C4-0x35"],
        Instead = "Leave the IRQL alone while the lock is held, and pass what KeAcquireSpinLock returned.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->Count++;
            KeReleaseSpinLock(&Extension->Lock, PASSIVE_LEVEL);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->Count++;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
    };

    public override void Called(in DdiCalled e)
    {
        base.Called(in e);
        byte target = (byte)e.Arguments[1];
        if (Tracker.Thread.Find(e.Arguments[0]) is not { Kind: LockKind.SpinLock, Irql: { } before } || target == before || before >= DISPATCH_LEVEL) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} released the spin lock at {Format.Address(e.Arguments[0])} with NewIrql {target}; the IRQL was {before} when it was acquired.", 1);
    }
}
