namespace Irpwright.Verification.Rules;

/// <summary>Paged pool cannot be had where it could not be touched.</summary>
sealed class IrqlExAllocatePool() : IrqlRule(PASSIVE_LEVEL, DISPATCH_LEVEL, Routines)
{
    const ulong PagedPoolType = 1;
    const ulong PoolFlagPaged = 0x100;

    static readonly IReadOnlyList<KernelExport> Routines =
        Exports("ExAllocatePoolWithTag", "ExAllocatePoolWithTagPriority", "ExAllocatePool", "ExAllocatePool2", "ExAllocatePool3");

    public static RuleInfo Definition { get; } = new(nameof(IrqlExAllocatePool), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlExAllocatePool)), Codes.Detected(0x00020004),
        "Pool is allocated above DISPATCH_LEVEL, or paged pool above APC_LEVEL.",
        static () => new IrqlExAllocatePool())
    {
        Instead = "At DISPATCH_LEVEL allocate from nonpaged pool; above it, not at all: allocate in advance.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            entry = ExAllocatePoolWithTag(PagedPool, sizeof(*entry), TAG);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            entry = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*entry), TAG);
            """,
    };

    internal override bool Allows(in DdiCalled e)
    {
        ulong paged = e.Export.Name is "ExAllocatePool2" or "ExAllocatePool3" ? PoolFlagPaged : PagedPoolType;
        return e.Irql <= ((e.Arguments[0] & paged) != 0 ? APC_LEVEL : DISPATCH_LEVEL);
    }
}
