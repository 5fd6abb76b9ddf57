namespace Irpwright.Verification.Tests;

public class AllocationTests
{
    static NTSTATUS Free(Bench bench, PIRP irp)
    {
        bench.Upper.IoFreeIrp(irp);
        return STATUS_MORE_PROCESSING_REQUIRED;
    }

    static PIRP NewFlush(Bench bench, bool quota = false) =>
        bench.Upper.Prepare(bench.Upper.IoAllocateIrp(bench.Upper.Lower.StackSize, quota), IRP_MJ_FLUSH_BUFFERS);

    static PIO_STATUS_BLOCK NewStatusBlock(Bench bench) => new(bench.Upper.Allocate(16).Address);

    /// <summary>The lower driver keeps flushes for ever.</summary>
    static void KeepFlushes(Bench bench) => bench.Lower.Other = irp =>
    {
        if (bench.Lower.IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_FLUSH_BUFFERS)
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        bench.Lower.IoMarkIrpPending(irp);
        return STATUS_PENDING;
    };

    [Theory, Spec("REG-09")]
    [InlineData(true)]
    [InlineData(false)]
    public void An_own_IRP_without_completion_routine_breaks_IoAllocateForward(bool initialized)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            PIRP own = NewFlush(bench);
            if (initialized)
            {
                own = new PIRP(bench.Upper.Allocate(IRP.SizeOf + IO_STACK_LOCATION.SizeOf).Address);
                bench.Upper.IoInitializeIrp(own, IRP.SizeOf + IO_STACK_LOCATION.SizeOf, 1);
                bench.Upper.Prepare(own, IRP_MJ_FLUSH_BUFFERS);
            }
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        bench.Breaks("IoAllocateForward", "upper");
    }

    [Fact, Spec("REG-09")]
    public void A_built_IRP_without_completion_routine_breaks_IoBuildFsdForward()
    {
        using var bench = new Bench();
        KeepFlushes(bench);
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoCallDriver(bench.Upper.Lower, bench.Upper.BuildAsynchronousFlush());
            return bench.Upper.SkipDown(irp);
        };
        bench.Breaks("IoBuildFsdForward", "upper");
    }

    [Theory, Spec("IMP-08")]
    [InlineData(true)]
    [InlineData(false)]
    public void An_own_IRP_that_its_routine_frees_is_right(bool built)
    {
        using var bench = new Bench();
        bench.Upper.Done = irp => Free(bench, irp);
        bench.Upper.Read = irp =>
        {
            PIRP own = built ? bench.Upper.BuildAsynchronousFlush() : NewFlush(bench);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        bench.IsSilent();
    }

    [Theory, Spec("ALLOC-10")]
    [InlineData(true, "IoAllocateComplete")]
    [InlineData(false, "IoBuildFsdComplete")]
    public void Completing_an_own_IRP_breaks_its_rule(bool allocated, string rule)
    {
        using var bench = new Bench();
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        bench.Upper.Read = irp =>
        {
            PIRP own = allocated ? NewFlush(bench) : bench.Upper.BuildAsynchronousFlush();
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            bench.Upper.Complete(own, STATUS_SUCCESS);
            return bench.Upper.SkipDown(irp);
        };
        bench.Breaks(rule, "upper");
    }

    [Fact, Spec("ALLOC-09")]
    public void Freeing_a_received_IRP_breaks_IoAllocateFree()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoFreeIrp(irp);
            return STATUS_PENDING;
        };
        Assert.Equal("IoAllocateFree", bench.Broken()[0]);
    }

    [Theory, Spec("ALLOC-09")]
    [InlineData(true, "IoBuildDeviceControlNoFree")]
    [InlineData(false, "IoBuildSynchronousFsdRequestNoFree")]
    public void Freeing_a_threaded_IRP_breaks_its_rule(bool control, string rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            PIRP own = control
                ? bench.Upper.BuildControl(0x00222000, bench.Upper.NewEvent(), NewStatusBlock(bench))
                : bench.Upper.BuildSynchronousFlush(bench.Upper.NewEvent(), NewStatusBlock(bench));
            bench.Upper.IoFreeIrp(own);
            return bench.Upper.SkipDown(irp);
        };
        Assert.Equal([rule], bench.Broken());
    }

    [Fact]
    public void Sending_a_threaded_IRP_and_waiting_is_right()
    {
        using var bench = new Bench();
        bench.Lower.Other = irp => bench.Lower.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_DEVICE_CONTROL
            ? bench.Lower.CompleteLater(irp)
            : bench.Lower.Complete(irp, STATUS_SUCCESS);
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            PIRP own = bench.Upper.BuildControl(0x00222000, done, NewStatusBlock(bench));
            if (bench.Upper.IoCallDriver(bench.Upper.Lower, own) == STATUS_PENDING) bench.Upper.Wait(done);
            return bench.Upper.SkipDown(irp);
        };
        bench.IsSilent();
    }

    [Fact, Spec("ALLOC-09")]
    public void Freeing_what_a_lower_driver_has_breaks_IwFreedInUse()
    {
        using var bench = new Bench();
        KeepFlushes(bench);
        bench.Upper.Read = irp =>
        {
            PIRP own = NewFlush(bench);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            bench.Upper.IoFreeIrp(own);
            return bench.Upper.SkipDown(irp);
        };
        bench.Breaks("IwFreedInUse", "upper");
    }

    [Theory, Spec("REUSE-03")]
    [InlineData("built", "IoReuseIrp")]
    [InlineData("received", "IoReuseIrp2")]
    public void Reusing_what_was_not_allocated_breaks_its_rule(string what, string rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoReuseIrp(what == "built" ? bench.Upper.BuildAsynchronousFlush() : irp, STATUS_SUCCESS);
            return bench.Upper.SkipDown(irp);
        };
        Assert.Equal(rule, bench.Broken()[0]);
    }

    [Theory, Spec("REUSE-04")]
    [InlineData(true, "IwReinitializedInUse")]
    [InlineData(false, null)]
    public void Reusing_what_a_lower_driver_has_breaks_IwReinitializedInUse(bool inFlight, string? rule)
    {
        using var bench = new Bench();
        if (inFlight) KeepFlushes(bench);
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        bench.Upper.Read = irp =>
        {
            PIRP own = NewFlush(bench);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            bench.Upper.IoReuseIrp(own, STATUS_SUCCESS);
            bench.Upper.IoFreeIrp(own);
            return bench.Upper.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Theory, Spec("ALLOC-06")]
    [InlineData(true, "IwInitializedWithQuota")]
    [InlineData(false, "IwInitializedAllocated")]
    public void Initialising_an_allocated_IRP_breaks_a_rule_by_its_quota(bool quota, string rule)
    {
        using var bench = new Bench(rules: RuleCatalog.All);
        bench.Upper.Read = irp =>
        {
            PIRP own = NewFlush(bench, quota);
            bench.Upper.IoInitializeIrp(own, own.Size, own.StackCount);
            bench.Upper.IoFreeIrp(own);
            return bench.Upper.SkipDown(irp);
        };
        bench.Breaks(rule, "upper");
    }

    [Fact, Spec("ALLOC-06")]
    public void Initialising_own_memory_again_is_right()
    {
        using var bench = new Bench();
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        bench.Upper.Read = irp =>
        {
            PIRP own = new(bench.Upper.Allocate(IRP.SizeOf + IO_STACK_LOCATION.SizeOf).Address);
            for (int i = 0; i < 2; i++)
            {
                bench.Upper.IoInitializeIrp(own, IRP.SizeOf + IO_STACK_LOCATION.SizeOf, 1);
                Assert.Equal((IO_TYPE_IRP, (sbyte)1, (sbyte)2), (own.Type, own.StackCount, own.CurrentLocation));
                Assert.Equal((STATUS_SUCCESS, 0), (own.IoStatus.Status, bench.Upper.IoGetNextIrpStackLocation(own).MajorFunction));
                bench.Upper.Prepare(own, IRP_MJ_FLUSH_BUFFERS);
                bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
                bench.Upper.IoCallDriver(bench.Upper.Lower, own);
                own.IoStatus.Status = STATUS_UNSUCCESSFUL;
            }
            return bench.Upper.SkipDown(irp);
        };
        bench.IsSilent();
    }
}
