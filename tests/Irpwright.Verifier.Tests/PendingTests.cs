namespace Irpwright.Verification.Tests;

public class PendingTests
{
    [Fact, Spec("PEND-03"), Spec("PEND-10")]
    public void A_marked_IRP_returned_with_another_status_breaks_MarkIrpPending()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoMarkIrpPending(irp);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        Violation violation = bench.Breaks("MarkIrpPending", "lower");
        Assert.Equal("lower!Dispatch", violation.Symbol);
        Assert.Contains("lower!Dispatch marked irp#", violation.Sentence, StringComparison.Ordinal);
        Assert.Contains("IRP_MJ_READ", violation.Sentence, StringComparison.Ordinal);
    }

    [Fact, Spec("PEND-03")]
    public void A_marked_IRP_that_is_queued_and_returned_as_success_breaks_MarkIrpPending_only()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.CompleteLater(irp);
            return STATUS_SUCCESS;
        };
        bench.Breaks("MarkIrpPending", "lower");
    }

    [Fact, Spec("PEND-03")]
    public void A_marked_IRP_that_is_completed_at_once_and_returned_pending_is_right()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            return STATUS_PENDING;
        };
        bench.IsSilent();
    }

    [Fact, Spec("PEND-04"), Spec("PEND-10")]
    public void Pending_without_mark_and_without_sending_breaks_MarkIrpPending2()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.Later(() => bench.Lower.Complete(irp, STATUS_SUCCESS));
            return STATUS_PENDING;
        };
        bench.Breaks("MarkIrpPending2", "lower");
    }

    [Theory, Spec("PEND-04")]
    [InlineData(true)]
    [InlineData(false)]
    public void Pending_from_a_lower_driver_may_be_returned_without_a_mark(bool skip)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp =>
        {
            if (skip) return bench.Upper.SkipDown(irp);
            bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
            return bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
        };
        bench.IsSilent();
    }

    [Fact]
    public void An_unmarked_IRP_completed_and_returned_pending_breaks_PendedCompletedRequest()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            return STATUS_PENDING;
        };
        bench.Breaks("PendedCompletedRequest", "lower");
    }

    [Fact, Spec("IMP-01"), Spec("PEND-07")]
    public void A_completion_routine_that_drops_the_pending_mark_breaks_IwPendingNotPropagated()
    {
        using var bench = new Bench(filterCount: 2);
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bool? seenAbove = null;
        bench.Top.Read = irp => bench.Top.CopyDown(irp);
        bench.Top.Done = irp =>
        {
            seenAbove = irp.PendingReturned;
            bench.Top.IoMarkIrpPending(irp); // keeps the request itself alive
            return STATUS_CONTINUE_COMPLETION;
        };
        Violation violation = bench.Breaks("IwPendingNotPropagated", "upper");
        Assert.Equal("upper!OnDone", violation.Symbol);
        Assert.Equal("0xC9/0x228", violation.Rule.Code.ToString());
        Assert.False(seenAbove);
    }

    [Fact, Spec("IMP-01")]
    public void A_completion_routine_that_passes_the_mark_on_is_right()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.Upper.Done = irp =>
        {
            if (irp.PendingReturned) bench.Upper.IoMarkIrpPending(irp);
            return STATUS_CONTINUE_COMPLETION;
        };
        bench.IsSilent();
    }

    [Fact, Spec("IMP-06")]
    public void A_routine_need_not_mark_what_its_dispatch_routine_marked_before_sending()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.CopyDown(irp);
            return STATUS_PENDING;
        };
        bench.IsSilent();
    }

    [Theory, Spec("IMP-04")]
    [InlineData("at once")]
    [InlineData("at once, after marking")]
    [InlineData("later")]
    public void Forward_and_wait_is_right(string lowerCompletes)
    {
        using var bench = new Bench();
        if (lowerCompletes == "later") bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        if (lowerCompletes == "at once, after marking")
        {
            bench.Lower.Read = irp =>
            {
                bench.Lower.IoMarkIrpPending(irp);
                bench.Lower.Complete(irp, STATUS_SUCCESS);
                return STATUS_PENDING;
            };
        }
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            bench.Upper.Done = forwarded =>
            {
                if (forwarded.PendingReturned) bench.Upper.KeSetEvent(done, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            };
            if (bench.Upper.CopyDown(irp, done) == STATUS_PENDING) bench.Upper.Wait(done);
            return bench.Upper.Complete(irp, irp.IoStatus.Status);
        };
        bench.IsSilent();
    }

    [Fact]
    public void IoForwardIrpSynchronously_and_completing_is_right()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp =>
        {
            Assert.True(bench.Upper.IoForwardIrpSynchronously(bench.Upper.Lower, irp));
            return bench.Upper.Complete(irp, irp.IoStatus.Status);
        };
        bench.IsSilent();
    }

    [Fact, Spec("CALL-09")]
    public void Completing_what_a_lower_driver_still_has_breaks_PendedCompletedRequest2()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoMarkIrpPending(irp);
            return STATUS_PENDING; // keeps it
        };
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.IoCopyCurrentIrpStackLocationToNext(irp);
            bench.Upper.IoCallDriver(bench.Upper.Lower, irp);
            bench.Upper.Complete(irp, STATUS_SUCCESS);
            return STATUS_PENDING;
        };
        bench.Breaks("PendedCompletedRequest2", "upper");
    }

    [Fact, Spec("CALL-09")]
    public void Sending_what_a_lower_driver_still_has_breaks_IwForwardedWhileBelow()
    {
        using var bench = new Bench(filterCount: 2);
        PIRP kept = default;
        bench.Lower.Read = irp =>
        {
            if (kept == irp) return STATUS_PENDING;
            kept = irp;
            bench.Lower.IoMarkIrpPending(irp);
            return STATUS_PENDING;
        };
        bench.Top.Read = irp =>
        {
            bench.Top.IoMarkIrpPending(irp);
            bench.Top.IoCopyCurrentIrpStackLocationToNext(irp);
            bench.Top.IoCallDriver(bench.Top.Lower, irp);
            bench.Top.IoCallDriver(bench.Top.Lower, irp);
            return STATUS_PENDING;
        };
        Assert.Contains("IwForwardedWhileBelow", bench.Broken());
    }

    [Fact, Spec("PEND-09")]
    public void Skipping_after_marking_breaks_IwSkippedAfterMarking()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.SkipDown(irp);
            return STATUS_PENDING;
        };
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Breaks("IwSkippedAfterMarking", "upper");
    }

    [Fact, Spec("IMP-02")]
    public void Marking_and_waking_the_waiter_breaks_CompletionEventChecking()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.LaterButNotYet(() => bench.Lower.Complete(irp, STATUS_SUCCESS));
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.Now();
            return STATUS_PENDING;
        };
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            bench.Upper.Done = forwarded =>
            {
                bench.Upper.IoMarkIrpPending(forwarded);
                bench.Upper.KeSetEvent(done, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            };
            if (bench.Upper.CopyDown(irp, done) == STATUS_PENDING) bench.Upper.Wait(done);
            bench.Upper.Complete(irp, irp.IoStatus.Status);
            return STATUS_PENDING; // so that only the routine is wrong
        };
        bench.Breaks("CompletionEventChecking", "upper");
    }

    [Fact, Spec("IMP-02")]
    public void Marking_and_setting_an_event_that_has_nothing_to_do_with_the_IRP_is_right()
    {
        using var bench = new Bench();
        PKEVENT idle = default;
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
        bench.Upper.Read = irp =>
        {
            idle = bench.Upper.NewEvent();
            return bench.Upper.CopyDown(irp);
        };
        bench.Upper.Done = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.KeSetEvent(idle, 0, false);
            return STATUS_CONTINUE_COMPLETION;
        };
        bench.IsSilent();
    }

    [Theory, Spec("IMP-03")]
    [InlineData(true, "IwMarkedWithoutLocation")]
    [InlineData(false, null)]
    public void An_originators_routine_must_not_mark(bool marks, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Done = irp =>
        {
            if (marks && irp.PendingReturned) bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.IoFreeIrp(irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.Lower.Other = irp => IsFlush(bench, irp) ? bench.Lower.CompleteLater(irp) : bench.Lower.Complete(irp, STATUS_SUCCESS);
        bench.Upper.Read = irp =>
        {
            PIRP own = bench.Upper.Prepare(bench.Upper.IoAllocateIrp(bench.Upper.Lower.StackSize, false), IRP_MJ_FLUSH_BUFFERS);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    static bool IsFlush(Bench bench, PIRP irp) => bench.Lower.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_FLUSH_BUFFERS;

#if !FREE_RUNNING
    /// <summary>DV-LRS-AlertedWait: what the option of Driver Verifier does, and a driver that takes no notice.</summary>
    [Fact]
    public void A_fault_ends_an_alertable_wait_with_an_alert_that_is_not_to_be_ignored()
    {
        using var bench = new Bench(options: new MachineOptions { Strategy = new AlertsWaits() });
        bench.Machine.Faults.IsOn = true;
        bench.Keep(IRP_MJ_DEVICE_CONTROL);
        List<NTSTATUS> statuses = [];
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent(), set = bench.Upper.NewEvent();
            bench.Upper.KeSetEvent(set, 0, false);
            statuses.Add(bench.Upper.KeWaitForSingleObject(set, Executive, KernelMode, false, null));
            bench.Upper.IoCallDriver(bench.Upper.Lower, bench.Upper.BuildControl(0x00222000, done, bench.Upper.NewStatusBlock()));
            statuses.Add(bench.Upper.KeWaitForSingleObject(done, Executive, KernelMode, true, null));
            return bench.Upper.SkipDown(irp);
        };
        bench.ActDuringRead(_ => bench.Lower.Complete(bench.Kept, STATUS_SUCCESS));
        bench.Do();

        Assert.Equal([STATUS_SUCCESS, STATUS_ALERTED], statuses);
        Violation violation = Assert.Single(bench.Verifier.Violations);
        Assert.Equal(("IoBuildDeviceControlWait", "upper"), (violation.Rule.Name, violation.Driver));
    }

    sealed class AlertsWaits : IScheduleStrategy
    {
        public bool MovesTimeEarly => false;

        public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) => 0;

        public int Choose(string site, int count) => site.StartsWith($"{FaultInjection.SitePrefix}KeWaitForSingleObject", StringComparison.Ordinal) ? 1 : 0;
    }
#endif
}
