namespace Irpwright.Verification.Rules;

/// <summary>Data that can be executed is what an attacker needs.</summary>
sealed class IwExecutablePool : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwExecutablePool), RuleFamily.Pool, Advice,
        Pages.Detected, Codes.Detected(0x2000),
        "A driver allocates nonpaged pool that is executable.",
        static () => new IwExecutablePool())
    {
        Covers = ["DV-C4-0x2000"],
        Instead = "Use NonPagedPoolNx or POOL_FLAG_NON_PAGED, or compile with POOL_NX_OPTIN.",
        Wrong = "copy = ExAllocatePoolWithTag(NonPagedPool, length, 'gaT1');",
        Right = "copy = ExAllocatePoolWithTag(NonPagedPoolNx, length, 'gaT1');",
    };

    public IReadOnlyList<KernelExport> Calls { get; } =
    [
        KernelExports.ExAllocatePool, KernelExports.ExAllocatePoolWithTag, KernelExports.ExAllocatePoolWithQuotaTag,
        KernelExports.ExAllocatePoolWithTagPriority, KernelExports.ExAllocatePool2,
    ];

    public void Called(in DdiCalled e)
    {
        const ulong pagedOrNx = (ulong)POOL_TYPE.PagedPool | (ulong)POOL_NX_ALLOCATION;
        bool executable = e.Export == KernelExports.ExAllocatePool2
            ? ((POOL_FLAGS)e.Arguments[0] & POOL_FLAGS.POOL_FLAG_NON_PAGED_EXECUTE) != 0
            : (e.Arguments[0] & pagedOrNx) == 0;
        if (!executable) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} allocated executable nonpaged pool by {e.Export.SourceName}; NonPagedPoolNx is for data.", (ulong)e.Export.Index);
    }
}
