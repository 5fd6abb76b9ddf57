namespace Irpwright.Verification.Tests;

public class ForwardingTests
{
    [Theory, Spec("CALL-10")]
    [InlineData(true, "IwForwardedCancelable")]
    [InlineData(false, null)]
    public void Forwarding_with_the_cancel_routine_set_breaks_IwForwardedCancelable_in_the_upper_driver(bool keeps, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoSetCancelRoutine(irp, bench.Upper.Cancel);
            if (!keeps) bench.Upper.IoSetCancelRoutine(irp, default);
            return bench.Upper.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else Assert.Equal("0xC9/0x203", bench.Breaks(rule, "upper").Rule.Code.ToString());
    }

    [Fact, Spec("CALL-11")]
    public void Sending_a_freed_packet_breaks_IwSentNoIrp()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            PIRP own = bench.Upper.Prepare(bench.Upper.IoAllocateIrp(2, false));
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoFreeIrp(own);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        Assert.Equal("IwSentNoIrp", bench.Broken()[0]);
    }

    [Fact, Spec("CALL-11")]
    public void Sending_to_NULL_breaks_IwSentToNoDevice()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoSkipCurrentIrpStackLocation(irp);
            return bench.Upper.IoCallDriver(default, irp);
        };
        Assert.Contains("NULL", bench.Breaks("IwSentToNoDevice", "upper").Sentence, StringComparison.Ordinal);
        Assert.IsType<BugCheckException>(bench.Stop);
    }

    [Fact, Spec("CALL-11")]
    public void Sending_to_a_driver_object_breaks_IwSentToNoDevice()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoSkipCurrentIrpStackLocation(irp);
            return bench.Upper.IoCallDriver(new PDEVICE_OBJECT(bench.Upper.Device.DriverObject.Address), irp);
        };
        Assert.Equal("IwSentToNoDevice", bench.Broken()[0]);
        // What is no device has no device's neighbours either: the verifier looked for them, and did not hang.
        Assert.DoesNotContain(bench.Machine.Scheduler.Threads, thread => thread.Kind == ThreadKind.User);
    }

    [Theory, Spec("CALL-11")]
    [InlineData(0x1C, "IwMajorFunctionOutOfRange")]
    [InlineData(0x1B, null)]
    public void A_major_function_beyond_the_table_breaks_IwMajorFunctionOutOfRange(byte major, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
            bench.Upper.IoGetNextIrpStackLocation(irp).MajorFunction = major;
            return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Theory, Spec("CALL-11")]
    [InlineData(DISPATCH_LEVEL + 1, "IwForwardedAboveDispatch")]
    [InlineData(DISPATCH_LEVEL, null)]
    public void Sending_above_DISPATCH_LEVEL_breaks_IwForwardedAboveDispatch(byte irql, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp =>
        {
            byte previous = bench.Upper.KfRaiseIrql(irql);
            NTSTATUS status = bench.Upper.SkipDown(irp);
            bench.Upper.KeLowerIrql(previous);
            return status;
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Theory, Spec("CALL-12")]
    [InlineData(IRP_MJ_FLUSH_BUFFERS, "ForwardedAtBadIrql")]
    [InlineData(IRP_MJ_DEVICE_CONTROL, null)]
    public void Forwarding_a_major_that_is_not_meant_for_it_at_DISPATCH_LEVEL_breaks_ForwardedAtBadIrql(byte major, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            byte previous = bench.Upper.KeRaiseIrqlToDpcLevel();
            bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
            bench.Upper.IoGetNextIrpStackLocation(irp).MajorFunction = major;
            NTSTATUS status = bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            bench.Upper.KeLowerIrql(previous);
            return status;
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Theory, Spec("CALL-12")]
    [InlineData("IoAllocateIrp", "ForwardedAtBadIrqlAllocate")]
    [InlineData("IoBuildAsynchronousFsdRequest", "ForwardedAtBadIrqlFsdAsync")]
    [InlineData("IoBuildSynchronousFsdRequest", "ForwardedAtBadIrqlFsdSync")]
    public void An_IRP_of_the_drivers_own_has_a_rule_of_its_own(string origin, string rule)
    {
        using var bench = new Bench();
        bench.Upper.Done = irp =>
        {
            bench.Upper.IoFreeIrp(irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.Upper.Read = irp =>
        {
            PIRP own = origin switch
            {
                "IoAllocateIrp" => bench.Upper.Prepare(bench.Upper.IoAllocateIrp(bench.Upper.Lower.StackSize, false), IRP_MJ_FLUSH_BUFFERS),
                "IoBuildAsynchronousFsdRequest" => bench.Upper.BuildAsynchronousFlush(),
                _ => bench.Upper.BuildSynchronousFlush(bench.Upper.NewEvent(), new PIO_STATUS_BLOCK(bench.Upper.Allocate(16).Address)),
            };
            if (origin != "IoBuildSynchronousFsdRequest") bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            byte previous = bench.Upper.KeRaiseIrqlToDpcLevel();
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            bench.Upper.KeLowerIrql(previous);
            return bench.Upper.SkipDown(irp);
        };
        bench.Breaks(rule, "upper");
    }

    [Theory, Spec("REG-10")]
    [InlineData(true, "IwNullCompletionRoutine")]
    [InlineData(false, null)]
    public void A_NULL_routine_that_is_to_be_invoked_breaks_IwNullCompletionRoutine(bool invoke, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
            bench.Upper.SetCompletionRoutine(irp, default, invoke);
            return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Theory, Spec("REG-07")]
    [InlineData(true)]
    [InlineData(false)]
    public void Registering_at_the_lowest_location_breaks_IwRoutineWithoutNextLocation(bool forwards)
    {
        using var bench = new Bench(filterCount: 0);
        bench.Lower.Read = irp =>
        {
            bench.Lower.SetCompletionRoutine(irp, bench.Lower.CompletionRoutine);
            return forwards ? bench.Lower.IoCallDriver(bench.Lower.Device, irp) : bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        Assert.Equal("IwRoutineWithoutNextLocation", bench.Broken()[0]);
        Assert.Equal("lower", bench.Verifier.Violations[0].Driver);
    }

    [Fact, Spec("STK-14")]
    public void Skipping_twice_breaks_IwLeftStackLocations()
    {
        using var bench = new Bench(filterCount: 2);
        bench.Top.Read = irp => bench.Top.CopyDown(irp);
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoSkipCurrentIrpStackLocation(irp);
            return bench.Upper.SkipDown(irp);
        };
        Assert.Contains("skipped more than once", bench.Breaks("IwLeftStackLocations", "upper").Sentence, StringComparison.Ordinal);
    }

    [Fact, Spec("STK-14")]
    public void Skipping_in_a_fresh_IRP_breaks_IwLeftStackLocations()
    {
        using var bench = new Bench();
        bench.Upper.Done = irp =>
        {
            bench.Upper.IoFreeIrp(irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.Upper.Read = irp =>
        {
            PIRP own = bench.Upper.IoAllocateIrp(bench.Upper.Lower.StackSize, false);
            bench.Upper.IoSkipCurrentIrpStackLocation(own);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.Prepare(own, IRP_MJ_FLUSH_BUFFERS);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        Assert.Equal("IwLeftStackLocations", bench.Broken()[0]);
    }

    [Theory, Spec("STK-09")]
    [InlineData(true, "IwTookLocationOfBuiltIrp")]
    [InlineData(false, null)]
    public void Taking_a_location_of_a_built_IRP_breaks_IwTookLocationOfBuiltIrp(bool takes, string? rule)
    {
        using var bench = new Bench(filterCount: 2);
        bench.Top.Done = irp =>
        {
            bench.Top.IoFreeIrp(irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.Top.Read = irp =>
        {
            PIRP own = bench.Top.BuildAsynchronousFlush();
            if (takes)
            {
                bench.Top.IoSetNextIrpStackLocation(own);
                bench.Top.Prepare(own, IRP_MJ_FLUSH_BUFFERS);
            }
            bench.Top.SetCompletionRoutine(own, bench.Top.CompletionRoutine);
            bench.Top.IoCallDriver(bench.Top.Lower, own);
            return bench.Top.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper2");
    }

    [Fact]
    public void Taking_a_location_that_was_allocated_for_it_is_right()
    {
        using var bench = new Bench();
        bench.Upper.Done = irp =>
        {
            bench.Upper.IoFreeIrp(irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.Upper.Read = irp =>
        {
            PIRP own = bench.Upper.IoAllocateIrp((sbyte)(bench.Upper.Lower.StackSize + 1), false);
            bench.Upper.IoSetNextIrpStackLocation(own);
            bench.Upper.IoGetCurrentIrpStackLocation(own).DeviceObject = bench.Upper.Device;
            bench.Upper.Prepare(own, IRP_MJ_FLUSH_BUFFERS);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        bench.IsSilent();
    }

    [Fact]
    public void Copying_a_marked_location_by_hand_breaks_IwControlNotCleared()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.IoGetNextIrpStackLocation(irp).Value = bench.Upper.IoGetCurrentIrpStackLocation(irp).Value;
            bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            return STATUS_PENDING;
        };
        bench.Breaks("IwControlNotCleared", "upper");
    }

    [Fact]
    public void Copying_a_location_with_the_routine_of_the_driver_above_breaks_IwCompletionRoutineCopied()
    {
        using var bench = new Bench(filterCount: 2);
        bench.Top.Read = irp => bench.Top.CopyDown(irp);
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoGetNextIrpStackLocation(irp).Value = bench.Upper.IoGetCurrentIrpStackLocation(irp).Value;
            return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
        };
        bench.Breaks("IwCompletionRoutineCopied", "upper");
    }

    [Fact, Spec("IMP-05")]
    public void Forwarding_with_a_routine_at_every_level_is_right()
    {
        using var bench = new Bench(filterCount: 2);
        bench.Top.Read = irp => bench.Top.CopyDown(irp);
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.IsSilent();
    }
}
