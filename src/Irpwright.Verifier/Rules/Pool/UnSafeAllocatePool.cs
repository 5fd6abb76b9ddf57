namespace Irpwright.Verification.Rules;

/// <summary>What the memory held before may reach user mode through a buffer that is not filled entirely.</summary>
sealed class UnSafeAllocatePool : Rule, IWatchCalls
{
    const ulong PoolZeroAllocation = 1024; // POOL_ZERO_ALLOCATION, which ExAllocatePoolZero and its relatives set

    public static RuleInfo Definition { get; } = new(nameof(UnSafeAllocatePool), RuleFamily.Pool, Advice,
        Pages.Wdm(nameof(UnSafeAllocatePool)), null,
        "A driver allocates pool by a routine that does not zero it, instead of ExAllocatePool2 or ExAllocatePool3.",
        static () => new UnSafeAllocatePool())
    {
        Instead = "Call ExAllocatePool2, or ExAllocatePoolZero where the driver must run on systems before Windows 10, version 2004.",
        Wrong = "copy = ExAllocatePoolWithTag(NonPagedPoolNx, length, 'gaT1');",
        Right = "copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, length, 'gaT1');",
    };

    public IReadOnlyList<KernelExport> Calls { get; } =
    [
        KernelExports.ExAllocatePool, KernelExports.ExAllocatePoolWithTag, KernelExports.ExAllocatePoolWithQuotaTag,
        KernelExports.ExAllocatePoolWithTagPriority,
    ];

    public void Called(in DdiCalled e)
    {
        if ((e.Arguments[0] & PoolZeroAllocation) != 0) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName}, which leaves in the memory what was there before; ExAllocatePool2 zeroes it.",
            (ulong)e.Export.Index);
    }
}
