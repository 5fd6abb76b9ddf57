namespace Irpwright.Verification.Rules;

/// <summary>A mapping outlives neither the lock on its pages nor the MDL that it was made by.</summary>
sealed class IwFreedMappedMdl : Rule, IWatchCalls, IWatch<MdlMapped>, IWatch<MdlUnmapping>, IWatch<PoolFreed>
{
    const MDL_FLAGS OthersMapping = MDL_FLAGS.MDL_PARTIAL | MDL_FLAGS.MDL_SOURCE_IS_NONPAGED_POOL | MDL_FLAGS.MDL_PARENT_MAPPED_SYSTEM_VA;

    public static RuleInfo Definition { get; } = new(nameof(IwFreedMappedMdl), RuleFamily.Mdl, Error,
        Pages.Detected, Codes.Detected(0xB8),
        "An MDL or the pages that it describes are freed, or pages in user space are unlocked, while they are still mapped by it.",
        static () => new IwFreedMappedMdl())
    {
        Covers = ["DV-C4-0xB8"],
        Instead = "Call MmUnmapLockedPages before MmFreePagesFromMdl and IoFreeMdl, for a mapping in user space also before MmUnlockPages.",
        Wrong = """
            address = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
            MmFreePagesFromMdl(mdl);
            ExFreePool(mdl);
            """,
        Right = """
            address = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
            MmUnmapLockedPages(address, mdl);
            MmFreePagesFromMdl(mdl);
            ExFreePool(mdl);
            """,
    };

    // MDLs with a mapping in user space, which shows nowhere in the MDL, and who made it.
    readonly Dictionary<ulong, CodePlace> inUserSpace = [];

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoFreeMdl, KernelExports.MmFreePagesFromMdl, KernelExports.MmUnlockPages];

    public void Called(in DdiCalled e)
    {
        PMDL mdl = new(e.Arguments[0]);
        bool wasInUserSpace = inUserSpace.Remove(mdl.Address, out _);
        if (!wasInUserSpace && (e.Export == KernelExports.MmUnlockPages || !IsMapped(mdl))) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} for the MDL at {Format.Address(mdl.Address)}, whose pages are still mapped"
                + $"{(wasInUserSpace ? " in user space" : "")}.");
    }

    static bool IsMapped(PMDL mdl) => (mdl.MdlFlags & (MDL_FLAGS.MDL_MAPPED_TO_SYSTEM_VA | OthersMapping)) == MDL_FLAGS.MDL_MAPPED_TO_SYSTEM_VA;

    public void On(in MdlMapped e)
    {
        if (e.Mode == MODE.UserMode) inUserSpace[e.Mdl.Address] = Tracker.Caller;
    }

    public void On(in MdlUnmapping e)
    {
        if (e.Address.Address <= Mdls.HighestUserAddress) inUserSpace.Remove(e.Mdl.Address);
    }

    // MDLs of requests are freed by the I/O manager.
    public void On(in PoolFreed e)
    {
        if (inUserSpace.Count == 0 || !inUserSpace.Remove(e.Address, out CodePlace by)) return;
        Report(by, Tracker.Thread.Frame?.Irp ?? default,
            $"The MDL at {Format.Address(e.Address)} was freed; {by} mapped its pages into user space and did not unmap them.");
    }
}
