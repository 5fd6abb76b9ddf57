namespace Irpwright.Verification.Rules;

/// <summary>Fast and guarded mutexes and push locks do not nest, and who shares a resource does not get it exclusively: the thread waits for itself.</summary>
sealed class IwLockOwnedAlready : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines =
        [.. LockRoutine.All(acquiring: true).Where(static export => LockRoutine.Of(export) is { IsShared: false } or { Kind: LockKind.PushLock })];

    public static RuleInfo Definition { get; } = new(nameof(IwLockOwnedAlready), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0x1000),
        "A thread acquires a fast or guarded mutex or a push lock that it has, or waits to own a resource exclusively that it shares.",
        static () => new IwLockOwnedAlready())
    {
        Covers = ["DV-C4-0x1000", "BC-0xBF"],
        Instead = "Acquire it once, in the outer routine; release a shared resource before it is acquired exclusively.",
        Wrong = """
            ExAcquireResourceSharedLite(&Extension->Resource, TRUE);
            if (Extension->IsStale) ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
            """,
        Right = """
            ExAcquireResourceSharedLite(&Extension->Resource, TRUE);
            isStale = Extension->IsStale;
            ExReleaseResourceLite(&Extension->Resource);
            if (isStale) ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Find(e.Arguments[0]) is not { } held) return;
        // Sharing a push lock nests.
        if (held.IsShared && LockRoutine.Of(e.Export) is { IsShared: true }) return;
        bool isResource = held.Kind == LockKind.Resource;
        // Exclusive ownership nests; a resource that is only tried is refused at once.
        if (isResource && (!held.IsShared || (e.Export == KernelExports.ExAcquireResourceExclusiveLite && (byte)e.Arguments[1] == 0))) return;
        if (e.Export.Name.Contains("TryTo", StringComparison.Ordinal)) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} for {held}, which its thread {(held.IsShared ? "shares" : "owns")} already: it waits for itself.");
    }
}
