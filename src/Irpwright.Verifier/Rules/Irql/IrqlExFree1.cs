namespace Irpwright.Verification.Rules;

/// <summary>A block is freed at an IRQL at which it could be allocated; by which routine it was makes no difference.</summary>
sealed class IrqlExFree1() : IrqlRule(PASSIVE_LEVEL, DISPATCH_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports("ExFreePool", "ExFreePoolWithTag", "ExFreePool2");

    public static RuleInfo Definition { get; } = new(nameof(IrqlExFree1), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlExFree1)), null,
        "Pool is freed above DISPATCH_LEVEL, or paged pool above APC_LEVEL.",
        static () => new IrqlExFree1())
    {
        Covers = ["IrqlExFree2", "IrqlExFree3"],
        Instead = "Free paged pool at APC_LEVEL or below: after the spin lock has been released, or from a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            ExFreePoolWithTag(Extension->PagedBuffer, TAG);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            buffer = Extension->PagedBuffer;
            Extension->PagedBuffer = NULL;
            KeReleaseSpinLock(&Extension->Lock, irql);
            ExFreePoolWithTag(buffer, TAG);
            """,
    };

    internal override bool Allows(in DdiCalled e) =>
        e.Irql <= APC_LEVEL || (e.Irql == DISPATCH_LEVEL && !PagedCode.IsPageable(e.Arguments[0]));
}
