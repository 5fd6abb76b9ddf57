namespace Irpwright.Verification.Rules;

/// <summary>Who releases the lock writes into memory that is somebody else's by then.</summary>
sealed class IwFreedHeldLock : Rule, IWatch<PoolFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedHeldLock), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0x100B),
        "A pool block is freed that contains a lock which a thread holds.",
        static () => new IwFreedHeldLock())
    {
        Covers = ["DV-C4-0x100B"],
        Instead = "Release the lock first, and make sure that nobody can be about to acquire it (a reference count, a remove lock).",
        Wrong = """
            ExAcquireFastMutex(&Context->Mutex);
            ExFreePoolWithTag(Context, TAG);
            """,
        Right = """
            ExAcquireFastMutex(&Context->Mutex);
            ExReleaseFastMutex(&Context->Mutex);
            ExFreePoolWithTag(Context, TAG);
            """,
    };

    public void On(in PoolFreed e)
    {
        foreach (ThreadContext thread in Tracker.Threads)
        {
            foreach (HeldLock held in thread.Locks)
            {
                if (held.Address < e.Address || !Machine.Pool.TryFind(e.Address, out PoolBlock block) || held.Address - block.Address >= block.Size) continue;
                Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                    $"{Tracker.Caller} freed the pool block at {Format.Address(block.Address)} with {held} in it, which {thread.Thread} holds.");
                return;
            }
        }
    }
}
