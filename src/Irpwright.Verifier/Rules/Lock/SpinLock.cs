namespace Irpwright.Verification.Rules;

/// <summary>Spin locks are released by the routine that acquired them. To acquire one that is held stops the machine (0xF).</summary>
sealed class SpinLock() : HeldAtReturnRule(static held => held.Kind == LockKind.SpinLock)
{
    public static RuleInfo Definition { get; } = new(nameof(SpinLock), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(SpinLock)), Codes.Detected(0x00040009),
        "A dispatch, completion, cancel, DPC or work item routine returns holding a spin lock that it acquired.",
        static () => new SpinLock())
    {
        Covers = ["SpinLockDpc"],
        Instead = "Release the lock on every path that leaves the routine.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            if (Extension->IsGone) return STATUS_DELETE_PENDING;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            isGone = Extension->IsGone;
            KeReleaseSpinLock(&Extension->Lock, irql);
            if (isGone) return STATUS_DELETE_PENDING;
            """,
    };
}
