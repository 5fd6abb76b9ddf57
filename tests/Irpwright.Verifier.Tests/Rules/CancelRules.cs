namespace Irpwright.Verification.Tests;

sealed class CancelRules : IRuleCases
{
    public static IEnumerable<RuleCase> Cases =>
    [
        new("IwCancelledForeign",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoCancelIrp(irp);
                return bench.Upper.SkipDown(irp);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                PIRP own = bench.Upper.IoAllocateIrp(1, false);
                bench.Upper.IoCancelIrp(own);
                bench.Upper.IoFreeIrp(own);
                return bench.Upper.SkipDown(irp);
            }),
    ];
}
