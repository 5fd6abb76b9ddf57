namespace Irpwright.Verification.Rules;

/// <summary>A DPC runs in whatever process the processor happens to be in, the idle process included.</summary>
sealed class IwQuotaFromDpc : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwQuotaFromDpc), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0x10B),
        "A DPC routine allocates pool on the quota of the current process.",
        static () => new IwQuotaFromDpc())
    {
        Covers = ["DV-C4-0x10B", "DV-C4-0x10A"],
        Instead = "Allocate with quota where the request arrives, in the requestor's thread; in a DPC, allocate without.",
        Wrong = """
            VOID TimerDpc(PKDPC Dpc, PVOID Context, PVOID A, PVOID B) {
                copy = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 64, 'gaT1');
            """,
        Right = """
            VOID TimerDpc(PKDPC Dpc, PVOID Context, PVOID A, PVOID B) {
                copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'gaT1');
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.ExAllocatePoolWithQuotaTag, KernelExports.ExAllocatePool2];

    public void Called(in DdiCalled e)
    {
        bool onQuota = e.Export != KernelExports.ExAllocatePool2 || ((POOL_FLAGS)e.Arguments[0] & POOL_FLAGS.POOL_FLAG_USE_QUOTA) != 0;
        if (!onQuota || !Tracker.Thread.IsInDpc) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} allocated pool on the quota of the current process in a DPC: which process that is, nobody knows.");
    }
}
