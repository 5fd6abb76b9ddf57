namespace Irpwright.Verification.Tests;

sealed class AllocationRules : IRuleCases
{
    const uint Code = 0x00222000;
    const ulong NotThere = 0xFFFF_F900_0000_0000;

    public static IEnumerable<RuleCase> Cases =>
    [
        new("IoAllocateForward",
            Wrong: bench => Own(bench, () => bench.Upper.IoCallDriver(bench.Upper.Lower, bench.Upper.NewFlush())),
            Right: bench => Own(bench, () => bench.Upper.SendOwn(bench.Upper.NewFlush()))),
        new("IoBuildFsdForward",
            Wrong: bench => Own(bench, () => bench.Upper.IoCallDriver(bench.Upper.Lower, bench.Upper.BuildAsynchronousFlush()), keep: true),
            Right: bench => Own(bench, () => bench.Upper.SendOwn(bench.Upper.BuildAsynchronousFlush()), keep: true)),
        new("IoAllocateComplete",
            Wrong: bench => Own(bench, () => bench.Upper.Complete(bench.Upper.NewFlush(), STATUS_SUCCESS)),
            Right: bench => Own(bench, () => bench.Upper.IoFreeIrp(bench.Upper.NewFlush()))),
        new("IoBuildFsdComplete",
            Wrong: bench => Back(bench, own => bench.Upper.Complete(own, STATUS_SUCCESS)),
            Right: bench => Back(bench, bench.Upper.IoFreeIrp)),
        new("IoAllocateFree",
            Wrong: bench => bench.Lower.Read = irp =>
            {
                bench.Lower.IoFreeIrp(irp);
                return STATUS_PENDING;
            },
            Right: bench => bench.Lower.Read = irp =>
            {
                PIRP own = bench.Lower.IoAllocateIrp(1, false);
                bench.Lower.IoFreeIrp(own);
                return bench.Lower.Complete(irp, STATUS_SUCCESS);
            }) { Driver = "lower", MayAlso = true },
        new("IoBuildDeviceControlNoFree",
            Wrong: bench => Own(bench, () =>
                bench.Upper.IoFreeIrp(bench.Upper.BuildControl(Code, bench.Upper.NewEvent(), bench.Upper.NewStatusBlock()))),
            Right: bench => PendingRules.Threaded(bench, control: true, static (probe, done) => probe.Wait(done))),
        new("IoBuildSynchronousFsdRequestNoFree",
            Wrong: bench => Own(bench, () =>
                bench.Upper.IoFreeIrp(bench.Upper.BuildSynchronousFlush(bench.Upper.NewEvent(), bench.Upper.NewStatusBlock()))),
            Right: bench => PendingRules.Threaded(bench, control: false, static (probe, done) => probe.Wait(done))),
        new("IwFreedInUse",
            Wrong: bench => Own(bench, () =>
            {
                PIRP own = bench.Upper.NewFlush();
                bench.Upper.SendOwn(own);
                bench.Upper.IoFreeIrp(own);
            }, keep: true),
            Right: bench => Own(bench, () => bench.Upper.SendOwn(bench.Upper.NewFlush()), keep: true)),
        new("IwFreedNoIrp",
            Wrong: bench => Own(bench, () =>
            {
                PIRP own = bench.Upper.NewFlush();
                bench.Upper.IoFreeIrp(own);
                bench.Upper.IoFreeIrp(own);
            }),
            Right: bench => Own(bench, () => bench.Upper.IoFreeIrp(bench.Upper.NewFlush()))),
        new("IwBuiltWithBadBuffer",
            Wrong: bench => Own(bench, () => bench.Upper.BuildRead(new PVOID(NotThere), 64)),
            Right: bench => Own(bench, () => bench.Upper.IoFreeIrp(bench.Upper.BuildRead(bench.Upper.Allocate(64), 64)))),
        new("IwUserAddressFromKernel",
            Wrong: bench => Own(bench, () => Send(bench, new PVOID(0x20000))),
            Right: bench => Own(bench, () => Send(bench, bench.Upper.Allocate(64)))),
        new("IwIrpFreedAsPool",
            Wrong: bench => Own(bench, () => bench.Upper.ExFreePool(new PVOID(bench.Upper.NewFlush().Address))),
            Right: bench => Own(bench, () => bench.Upper.IoFreeIrp(bench.Upper.NewFlush()))),
        new("RequestedPowerIrp",
            Wrong: bench => Own(bench, () => bench.Upper.RequestPower(bench.Upper.Allocate(8))),
            Right: bench => Own(bench, () => bench.Upper.RequestPower(default))),
        new("IwIrpLeakedAtUnload",
            Wrong: bench => ObjectRules.Unloads(bench, () => bench.Upper.NewFlush(), () => { }),
            Right: bench => ObjectRules.Unloads(bench, () => bench.Upper.IoFreeIrp(bench.Upper.NewFlush()), () => { })),
        new("IwIrpLeakedAtUnload",
            Wrong: bench => FailsAndUnloads(bench, frees: false),
            Right: bench => FailsAndUnloads(bench, frees: true)) { Name = "in a routine" },
    ];

    /// <summary>The upper driver's own IRP fails, and its routine may forget it.</summary>
    static void FailsAndUnloads(Bench bench, bool frees)
    {
        bench.CompleteLater(IRP_MJ_FLUSH_BUFFERS, STATUS_DEVICE_NOT_READY);
        bench.Upper.Done = own => frees ? bench.Upper.Free(own) : STATUS_MORE_PROCESSING_REQUIRED;
        ObjectRules.Unloads(bench, () => bench.Upper.SendOwn(bench.Upper.NewFlush()), () => { });
    }

    /// <summary>The upper driver does something with an IRP of its own, which its routine frees.</summary>
    internal static void Own(Bench bench, Action act, bool keep = false)
    {
        if (keep) bench.Keep(IRP_MJ_FLUSH_BUFFERS);
        bench.Upper.Done = bench.Upper.Free;
        bench.Upper.Read = irp =>
        {
            act();
            return bench.Upper.SkipDown(irp);
        };
    }

    static void Back(Bench bench, Action<PIRP> act) => bench.Upper.Read = irp =>
    {
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        PIRP own = bench.Upper.BuildAsynchronousFlush();
        bench.Upper.SendOwn(own);
        act(own);
        return bench.Upper.SkipDown(irp);
    };

    static void Send(Bench bench, PVOID buffer)
    {
        PIRP own = bench.Upper.NewFlush();
        own.UserBuffer = buffer;
        bench.Upper.SendOwn(own);
    }
}
