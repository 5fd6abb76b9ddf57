namespace Irpwright.Verification.Rules;

/// <summary>The unsafe routines leave it to the caller to keep APCs away.</summary>
sealed class IwUnsafeMutexWithApcs : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines =
    [
        KernelExports.ExAcquireFastMutexUnsafe, KernelExports.ExReleaseFastMutexUnsafe,
        KernelExports.KeAcquireGuardedMutexUnsafe, KernelExports.KeReleaseGuardedMutexUnsafe,
    ];

    public static RuleInfo Definition { get; } = new(nameof(IwUnsafeMutexWithApcs), RuleFamily.Lock, Error,
        Pages.Kernel("fast-mutexes-and-guarded-mutexes"), Codes.Detected(0x39),
        "A fast or guarded mutex is acquired or released by an unsafe routine while normal kernel APCs are enabled.",
        static () => new IwUnsafeMutexWithApcs())
    {
        Covers = ["DV-C4-0x39", "DV-C4-0x3A"],
        Instead = "Use ExAcquireFastMutex, or enter a critical region first.",
        Wrong = """
            ExAcquireFastMutexUnsafe(&Extension->Mutex);
            Extension->Count++;
            ExReleaseFastMutexUnsafe(&Extension->Mutex);
            """,
        Right = """
            KeEnterCriticalRegion();
            ExAcquireFastMutexUnsafe(&Extension->Mutex);
            Extension->Count++;
            ExReleaseFastMutexUnsafe(&Extension->Mutex);
            KeLeaveCriticalRegion();
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.AreApcsDisabled) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName} with APCs enabled.", (ulong)e.Export.Index);
    }
}
