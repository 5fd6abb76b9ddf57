namespace Irpwright.Verification.Rules;

/// <summary>An APC that runs while its thread has a push lock can want the same one.</summary>
sealed class IwPushLockWithApcs : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines =
    [
        KernelExports.ExAcquirePushLockExclusiveEx, KernelExports.ExAcquirePushLockSharedEx,
        KernelExports.ExReleasePushLockExclusiveEx, KernelExports.ExReleasePushLockSharedEx,
    ];

    public static RuleInfo Definition { get; } = new(nameof(IwPushLockWithApcs), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0xEA),
        "A push lock is acquired or released while normal kernel APCs are enabled.",
        static () => new IwPushLockWithApcs())
    {
        Covers = ["DV-C4-0xEA", "DV-C4-0xEB"],
        Instead = "Enter a critical region first, and leave it after the push lock is released.",
        Wrong = """
            ExAcquirePushLockExclusive(&Extension->Lock);
            Extension->Count++;
            ExReleasePushLockExclusive(&Extension->Lock);
            """,
        Right = """
            KeEnterCriticalRegion();
            ExAcquirePushLockExclusive(&Extension->Lock);
            Extension->Count++;
            ExReleasePushLockExclusive(&Extension->Lock);
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
