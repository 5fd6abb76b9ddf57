namespace Irpwright.Verification.Rules;

/// <summary>Whose user space it is, is only sure in a thread of that process, and page tables of user space are pageable.</summary>
sealed class IwUserMappingAboveApcLevel : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwUserMappingAboveApcLevel), RuleFamily.Mdl, Error,
        Pages.Detected, Codes.Detected(0x77),
        "A driver maps pages into user space, or ends such a mapping, at DISPATCH_LEVEL or above.",
        static () => new IwUserMappingAboveApcLevel())
    {
        Covers = ["DV-C4-0x75", "DV-C4-0x77", "DV-C4-0x7A"],
        Instead = "Map in the dispatch routine, in the requestor's thread and below DISPATCH_LEVEL, before a spin lock is taken.",
        Wrong = """
            KeAcquireSpinLock(&Lock, &irql);
            address = MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
            KeReleaseSpinLock(&Lock, irql);
            """,
        Right = """
            address = MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
            KeAcquireSpinLock(&Lock, &irql);
            KeReleaseSpinLock(&Lock, irql);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } =
        [KernelExports.MmMapLockedPages, KernelExports.MmMapLockedPagesSpecifyCache, KernelExports.MmUnmapLockedPages];

    public void Called(in DdiCalled e)
    {
        if (e.Irql <= APC_LEVEL) return;
        bool isUser = e.Export == KernelExports.MmUnmapLockedPages
            ? e.Arguments[0] <= Mdls.HighestUserAddress
            : (MODE)(byte)e.Arguments[1] == MODE.UserMode;
        if (!isUser) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} for user space at IRQL {e.Irql}; that is allowed at {APC_LEVEL} or below.", (ulong)e.Export.Index);
    }
}
