namespace Irpwright.Verification.Tests;

sealed class ForwardingRules : IRuleCases
{
    const byte UnknownMinor = 0x7F;

    public static IEnumerable<RuleCase> Cases =>
    [
        new("IwSentNoIrp",
            Wrong: bench => AllocationRules.Own(bench, () =>
            {
                PIRP own = bench.Upper.NewFlush();
                bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
                bench.Upper.IoFreeIrp(own);
                bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            }),
            Right: bench => AllocationRules.Own(bench, () => bench.Upper.SendOwn(bench.Upper.NewFlush()))),
        new("IwSentToNoDevice",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoSkipCurrentIrpStackLocation(irp);
                return bench.Upper.IoCallDriver(default, irp);
            },
            Right: bench => bench.Upper.Read = bench.Upper.SkipDown),
        new("IwMajorFunctionOutOfRange",
            Wrong: bench => SendMajor(bench, IRP_MJ_MAXIMUM_FUNCTION + 1),
            Right: bench => SendMajor(bench, IRP_MJ_MAXIMUM_FUNCTION)),
        new("IwNullCompletionRoutine",
            Wrong: bench => SendWithoutRoutine(bench, invoke: true),
            Right: bench => SendWithoutRoutine(bench, invoke: false)),
        new("IwRoutineWithoutNextLocation",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.SetCompletionRoutine(irp, bench.Lower.CompletionRoutine);
                return bench.Lower.Complete(irp, STATUS_SUCCESS);
            },
            Right: bench => bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_SUCCESS)) { Driver = "lower", FilterCount = 0, MayAlso = true },
        new("IwLeftStackLocations",
            Wrong: bench =>
            {
                bench.Top.Read = irp => bench.Top.CopyDown(irp);
                bench.Upper.Read = irp =>
                {
                    bench.Upper.IoSkipCurrentIrpStackLocation(irp);
                    return bench.Upper.SkipDown(irp);
                };
            },
            Right: bench =>
            {
                bench.Top.Read = irp => bench.Top.CopyDown(irp);
                bench.Upper.Read = bench.Upper.SkipDown;
            }) { FilterCount = 2 },
        new("IwTookLocationOfBuiltIrp",
            Wrong: bench => SendBuilt(bench, takes: true),
            Right: bench => SendBuilt(bench, takes: false)) { Driver = "upper2", FilterCount = 2 },
        new("IwControlNotCleared",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoMarkIrpPending(irp);
                bench.Upper.IoGetNextIrpStackLocation(irp).Value = bench.Upper.IoGetCurrentIrpStackLocation(irp).Value;
                bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                return STATUS_PENDING;
            },
            Right: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoMarkIrpPending(irp);
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
                return STATUS_PENDING;
            }),
        new("IwCompletionRoutineCopied",
            Wrong: bench => BelowRoutine(bench, irp =>
            {
                bench.Upper.IoGetNextIrpStackLocation(irp).Value = bench.Upper.IoGetCurrentIrpStackLocation(irp).Value;
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            }),
            Right: bench => BelowRoutine(bench, irp =>
            {
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            })) { FilterCount = 2 },
        new("IwTooFewLocations",
            Wrong: bench => SendAllocated(bench, 1),
            Right: bench => SendAllocated(bench, bench.Top.Lower.StackSize)) { Driver = "upper2", FilterCount = 2 },
        new("IwStatusOfUnknownChanged",
            Wrong: bench => SendUnknown(bench, touches: true),
            Right: bench => SendUnknown(bench, touches: false)),
        new("IwCopiedWithoutRoutine",
            Wrong: bench => bench.Upper.Read = irp =>
            {
                bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            },
            Right: bench => bench.Upper.Read = irp => bench.Upper.CopyDown(irp)),
        new("IwRoutineAfterSkip",
            Wrong: bench => BelowRoutine(bench, irp =>
            {
                bench.Upper.IoSkipCurrentIrpStackLocation(irp);
                bench.Upper.SetCompletionRoutine(irp, bench.Upper.CompletionRoutine);
                return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            }),
            Right: bench => BelowRoutine(bench, bench.Upper.SkipDown)) { FilterCount = 2 },
    ];

    static void SendMajor(Bench bench, byte major) => bench.Upper.Read = irp =>
    {
        bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
        bench.Upper.IoGetNextIrpStackLocation(irp).MajorFunction = major;
        return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
    };

    static void SendWithoutRoutine(Bench bench, bool invoke) => bench.Upper.Read = irp =>
    {
        bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
        bench.Upper.SetCompletionRoutine(irp, default, invoke);
        return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
    };

    static void SendBuilt(Bench bench, bool takes)
    {
        bench.Top.Done = bench.Top.Free;
        bench.Top.Read = irp =>
        {
            PIRP own = bench.Top.BuildAsynchronousFlush();
            if (takes)
            {
                bench.Top.IoSetNextIrpStackLocation(own);
                bench.Top.Prepare(own, IRP_MJ_FLUSH_BUFFERS);
            }
            bench.Top.SendOwn(own);
            return bench.Top.SkipDown(irp);
        };
    }

    static void SendAllocated(Bench bench, sbyte stackSize)
    {
        bench.Top.Done = bench.Top.Free;
        bench.Top.Read = irp =>
        {
            bench.Top.SendOwn(bench.Top.Prepare(bench.Top.IoAllocateIrp(stackSize, false), IRP_MJ_FLUSH_BUFFERS));
            return bench.Top.SkipDown(irp);
        };
    }

    static void BelowRoutine(Bench bench, Func<PIRP, NTSTATUS> read)
    {
        bench.Top.Read = irp => bench.Top.CopyDown(irp);
        bench.Upper.Read = read;
    }

    static void SendUnknown(Bench bench, bool touches)
    {
        bench.Send(IRP_MJ_PNP, UnknownMinor);
        bench.Upper.Other = irp =>
        {
            if (touches && Probe.Major(irp) == IRP_MJ_PNP) irp.IoStatus.Information = 1;
            return bench.Upper.SkipDown(irp);
        };
    }
}
