namespace Irpwright.Verification.Rules;

/// <summary>Nobody else can release what an ended thread owns. Owning a KMUTEX stops the machine (THREAD_TERMINATE_HELD_MUTEX).</summary>
sealed class IwThreadEndedHolding : Rule, IWatch<ThreadEnded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwThreadEndedHolding), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0x100A),
        "A thread ends while it holds a lock.",
        static () => new IwThreadEndedHolding())
    {
        Covers = ["DV-C4-0x100A"],
        Instead = "Release every lock before the thread's routine returns or PsTerminateSystemThread is called.",
        Wrong = """
            VOID Worker(PVOID Context)
            {
                ExAcquireFastMutex(&Extension->Mutex);
                PsTerminateSystemThread(STATUS_SUCCESS);
            """,
        Right = """
            VOID Worker(PVOID Context)
            {
                ExAcquireFastMutex(&Extension->Mutex);
                ExReleaseFastMutex(&Extension->Mutex);
                PsTerminateSystemThread(STATUS_SUCCESS);
            """,
    };

    public void On(in ThreadEnded e)
    {
        foreach (HeldLock held in Tracker.Thread.Locks)
        {
            // What a routine left held was reported when that returned.
            if (held.Depth >= 0) Report(Tracker.Caller, default, $"{e.Thread} ended while holding {held}; {Tracker.Caller} ran on it last.", held.Address);
        }
    }
}
