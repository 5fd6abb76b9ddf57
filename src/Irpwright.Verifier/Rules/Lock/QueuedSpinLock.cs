namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="SpinLock"/>: the queue handle mostly lies on the stack of the routine that ends.</summary>
sealed class QueuedSpinLock() : HeldAtReturnRule(static held => held.Kind == LockKind.QueuedSpinLock)
{
    public static RuleInfo Definition { get; } = new(nameof(QueuedSpinLock), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(QueuedSpinLock)), Codes.Detected(0x00040006),
        "A dispatch, completion, cancel, DPC or work item routine returns holding an in-stack queued spin lock that it acquired.",
        static () => new QueuedSpinLock())
    {
        Covers = ["QueuedSpinLockRelease"],
        Instead = "Release the lock on every path that leaves the routine.",
        Wrong = """
            KeAcquireInStackQueuedSpinLock(&Extension->Lock, &handle);
            if (Extension->IsGone) return STATUS_DELETE_PENDING;
            KeReleaseInStackQueuedSpinLock(&handle);
            """,
        Right = """
            KeAcquireInStackQueuedSpinLock(&Extension->Lock, &handle);
            isGone = Extension->IsGone;
            KeReleaseInStackQueuedSpinLock(&handle);
            if (isGone) return STATUS_DELETE_PENDING;
            """,
    };
}
