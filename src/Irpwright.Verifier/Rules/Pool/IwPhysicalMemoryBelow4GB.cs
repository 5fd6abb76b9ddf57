namespace Irpwright.Verification.Rules;

/// <summary>There is little of that memory, and devices that cannot reach more have DMA adapters.</summary>
sealed class IwPhysicalMemoryBelow4GB : Rule, IWatchCalls
{
    const ulong FourGigabytes = 1ul << 32;

    public static RuleInfo Definition { get; } = new(nameof(IwPhysicalMemoryBelow4GB), RuleFamily.Pool, Advice,
        Pages.Detected, Codes.Detected(0x141),
        "A driver asks for physical memory that must lie below 4 GB.",
        static () => new IwPhysicalMemoryBelow4GB())
    {
        Covers = ["DV-C4-0x141"],
        Instead = "Let the memory be anywhere; for a device that cannot reach it, call AllocateCommonBuffer of its DMA adapter.",
        Wrong = """
            highest.QuadPart = MAXULONG;
            buffer = MmAllocateContiguousMemory(length, highest);
            """,
        Right = """
            highest.QuadPart = MAXLONGLONG;
            buffer = MmAllocateContiguousMemory(length, highest);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } =
    [
        KernelExports.MmAllocateContiguousMemory, KernelExports.MmAllocatePagesForMdl, KernelExports.MmAllocatePagesForMdlEx,
        KernelExports.MmAllocateContiguousMemorySpecifyCache, KernelExports.MmAllocateContiguousMemorySpecifyCacheNode,
    ];

    public void Called(in DdiCalled e)
    {
        bool hasLowest = e.Export == KernelExports.MmAllocateContiguousMemorySpecifyCache || e.Export == KernelExports.MmAllocateContiguousMemorySpecifyCacheNode;
        ulong highest = e.Arguments[hasLowest ? 2 : 1];
        if (highest >= FourGigabytes) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called {e.Export.SourceName} for memory below physical address 0x{highest:x}.", (ulong)e.Export.Index);
    }
}
