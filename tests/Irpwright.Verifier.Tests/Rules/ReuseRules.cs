namespace Irpwright.Verification.Tests;

sealed class ReuseRules : IRuleCases
{
    public static IEnumerable<RuleCase> Cases =>
    [
        new("IoReuseIrp",
            Wrong: bench => With(bench, () => bench.Upper.BuildAsynchronousFlush(), own => bench.Upper.IoReuseIrp(own, STATUS_SUCCESS)),
            Right: bench => With(bench, () => bench.Upper.NewFlush(), own => bench.Upper.IoReuseIrp(own, STATUS_SUCCESS))),
        new("IoReuseIrp2",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoReuseIrp(irp, STATUS_SUCCESS);
                return STATUS_SUCCESS;
            },
            Right: bench => With(bench, () => bench.Upper.NewFlush(), own => bench.Upper.IoReuseIrp(own, STATUS_SUCCESS))) { MayAlso = true },
        new("IwReinitializedInUse",
            Wrong: bench =>
            {
                bench.Keep(IRP_MJ_FLUSH_BUFFERS);
                ReuseSent(bench);
            },
            Right: ReuseSent),
        new("IwInitializedWithQuota",
            Wrong: bench => With(bench, () => bench.Upper.NewFlush(quota: true), own => bench.Upper.IoInitializeIrp(own, own.Size, own.StackCount)),
            Right: bench => With(bench, () => bench.Upper.NewFlush(quota: true), own => bench.Upper.IoReuseIrp(own, STATUS_SUCCESS))),
        new("IwInitializedAllocated",
            Wrong: bench => With(bench, () => bench.Upper.NewFlush(), own => bench.Upper.IoInitializeIrp(own, own.Size, own.StackCount)),
            Right: bench => With(bench, () => bench.Upper.NewFlush(), own => bench.Upper.IoReuseIrp(own, STATUS_SUCCESS))),
    ];

    static void With(Bench bench, Func<PIRP> make, Action<PIRP> reuse) => bench.Upper.Read = irp =>
    {
        PIRP own = make();
        reuse(own);
        bench.Upper.IoFreeIrp(own);
        return bench.Upper.SkipDown(irp);
    };

    static void ReuseSent(Bench bench)
    {
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        With(bench, () =>
        {
            PIRP own = bench.Upper.NewFlush();
            bench.Upper.SendOwn(own);
            return own;
        }, own => bench.Upper.IoReuseIrp(own, STATUS_SUCCESS));
    }
}
