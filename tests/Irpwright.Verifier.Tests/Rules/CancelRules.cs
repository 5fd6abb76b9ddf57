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
        new("IwCompletedCancelable",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
                return bench.Lower.Complete(irp, STATUS_SUCCESS);
            },
            Right: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
                bench.Lower.IoSetCancelRoutine(irp, default);
                return bench.Lower.Complete(irp, STATUS_SUCCESS);
            }) { Driver = "lower" },
        new("IwForwardedCancelable",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoSetCancelRoutine(irp, bench.Upper.Cancel);
                return bench.Upper.SkipDown(irp);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoSetCancelRoutine(irp, bench.Upper.Cancel);
                bench.Upper.IoSetCancelRoutine(irp, default);
                return bench.Upper.SkipDown(irp);
            }),
        new("IrpCancelField",
            Wrong: bench =>
            {
                bench.KeepReads(irp =>
                {
                    // What the I/O manager does for a requestor.
                    bench.Machine.Cancellation.IoCancelIrp(irp);
                    bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
                });
                bench.ActDuringRead(_ => Finish(bench));
            },
            Right: bench => bench.Lower.Read = irp =>
            {
                bench.Machine.Cancellation.IoCancelIrp(irp);
                bench.Lower.IoMarkIrpPending(irp);
                bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
                if (irp.Cancel && !bench.Lower.IoSetCancelRoutine(irp, default).IsNull) bench.Lower.Complete(irp, STATUS_CANCELLED);
                return STATUS_PENDING;
            }) { Driver = "lower" },
        new("StartIoCancel",
            Wrong: bench =>
            {
                bench.KeepReads(irp =>
                {
                    bench.Lower.IoSetStartIoAttributes(bench.Lower.Device, false, false);
                    bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
                });
                bench.ActDuringRead(_ => Finish(bench));
            },
            Right: bench =>
            {
                bench.KeepReads(irp =>
                {
                    bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
                    bench.Lower.IoSetStartIoAttributes(bench.Lower.Device, false, false);
                });
                bench.ActDuringRead(_ => Finish(bench));
            }) { Driver = "lower" },
        new("CancelSpinLock",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                byte irql = bench.Upper.KeRaiseIrqlToDpcLevel();
                bench.Upper.IoReleaseCancelSpinLock(irql);
                return bench.Upper.SkipDown(irp);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoAcquireCancelSpinLock(out byte irql);
                bench.Upper.IoReleaseCancelSpinLock(irql);
                return bench.Upper.SkipDown(irp);
            }),
        new("CancelSpinLock",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoAcquireCancelSpinLock(out _);
                bench.Upper.IoAcquireCancelSpinLock(out _);
                return bench.Upper.SkipDown(irp);
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoAcquireCancelSpinLock(out byte irql);
                bench.Upper.IoReleaseCancelSpinLock(irql);
                bench.Upper.IoAcquireCancelSpinLock(out irql);
                bench.Upper.IoReleaseCancelSpinLock(irql);
                return bench.Upper.SkipDown(irp);
            }) { Name = "twice" },
        new("IwCancelableWhileBelow",
            Wrong: bench =>
            {
                bench.KeepReads();
                bench.Upper.Read = irp =>
                {
                    NTSTATUS status = bench.Upper.SkipDown(irp);
                    bench.Upper.IoSetCancelRoutine(irp, bench.Upper.Cancel);
                    return status;
                };
                bench.ActDuringRead(_ => Finish(bench));
            },
            Right: bench =>
            {
                bench.KeepReads(irp => bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel));
                bench.Upper.Read = irp => bench.Upper.SkipDown(irp);
                bench.ActDuringRead(_ => Finish(bench));
            }),
        new("IwCancelIgnored",
            Wrong: bench =>
            {
                bench.KeepReads();
                bench.ActDuringRead(read => read.Cancel());
            },
            Right: bench =>
            {
                bench.KeepReads(irp => bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel));
                bench.Lower.Cancelled = irp =>
                {
                    bench.Lower.IoReleaseCancelSpinLock(irp.CancelIrql);
                    bench.Lower.Complete(irp, STATUS_CANCELLED);
                };
                bench.ActDuringRead(read => read.Cancel());
            }) { Driver = "lower" },
    ];

    internal static void Finish(Bench bench)
    {
        bench.Lower.IoSetCancelRoutine(bench.Kept, default);
        bench.Lower.Complete(bench.Kept, STATUS_SUCCESS);
    }
}
