namespace Irpwright.Verification.Rules;

/// <summary>An APC could suspend the thread while it owns the resource that everybody waits for.</summary>
/// <remarks>The page knows critical regions only; a guarded region or APC_LEVEL keeps normal kernel APCs away as well.</remarks>
sealed class WithinCriticalRegion : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines =
    [
        KernelExports.ExAcquireResourceSharedLite, KernelExports.ExAcquireResourceExclusiveLite, KernelExports.ExAcquireSharedStarveExclusive,
        KernelExports.ExAcquireSharedWaitForExclusive, KernelExports.ExReleaseResourceLite, KernelExports.ExReleaseResourceForThreadLite,
    ];

    public static RuleInfo Definition { get; } = new(nameof(WithinCriticalRegion), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(WithinCriticalRegion)), Codes.Detected(0x37),
        "A resource is acquired or released while normal kernel APCs are enabled.",
        static () => new WithinCriticalRegion())
    {
        Covers = ["DV-C4-0x37", "DV-C4-0x38"],
        Instead = "Enclose it in KeEnterCriticalRegion and KeLeaveCriticalRegion, or use ExEnterCriticalRegionAndAcquireResourceExclusive.",
        Wrong = """
            ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
            Extension->Count++;
            ExReleaseResourceLite(&Extension->Resource);
            """,
        Right = """
            KeEnterCriticalRegion();
            ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
            Extension->Count++;
            ExReleaseResourceLite(&Extension->Resource);
            KeLeaveCriticalRegion();
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.AreApcsDisabled) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName} outside of a critical region.", (ulong)e.Export.Index);
    }
}
