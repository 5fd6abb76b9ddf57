namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="SpinLock"/>, for what Microsoft's rules do not name: the thread goes on as if it owned nothing.</summary>
sealed class IwLockHeldAtReturn() : HeldAtReturnRule(static held => !held.IsSpinLock && held is not { Kind: LockKind.Resource, IsShared: false })
{
    public static RuleInfo Definition { get; } = new(nameof(IwLockHeldAtReturn), RuleFamily.Lock, Error,
        Pages.Kernel("fast-mutexes-and-guarded-mutexes"), null,
        "A dispatch, fast I/O, completion, cancel, DPC or work item routine returns while it has a mutex of any kind or a push lock, or shares a resource, that it "
            + "acquired.",
        static () => new IwLockHeldAtReturn())
    {
        Instead = "Release the mutex on every path that leaves the routine.",
        Wrong = """
            ExAcquireFastMutex(&Extension->Mutex);
            if (Extension->IsGone) return STATUS_DELETE_PENDING;
            ExReleaseFastMutex(&Extension->Mutex);
            """,
        Right = """
            ExAcquireFastMutex(&Extension->Mutex);
            isGone = Extension->IsGone;
            ExReleaseFastMutex(&Extension->Mutex);
            if (isGone) return STATUS_DELETE_PENDING;
            """,
    };
}
