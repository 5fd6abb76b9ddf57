namespace Irpwright.Verification.Tests;

public class CompletionTests
{
    [Theory, Spec("CMP-27")]
    [InlineData(STATUS_PENDING)]
    [InlineData((NTSTATUS)(-1))]
    public void Completing_without_a_final_status_breaks_CompleteRequestStatusCheck(NTSTATUS status)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.Complete(irp, status);
            return STATUS_PENDING;
        };
        Violation violation = bench.Breaks("CompleteRequestStatusCheck", "lower");
        Assert.Equal("0xC9/0x6", violation.Rule.Code.ToString());
    }

    [Fact, Spec("CMP-27")]
    public void Completing_with_a_warning_is_right()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_BUFFER_OVERFLOW);
        Assert.Equal(STATUS_BUFFER_OVERFLOW, bench.Read().Status);
        Assert.Empty(bench.Verifier.Violations);
    }

    [Fact, Spec("CMP-27")]
    public void Completing_above_DISPATCH_LEVEL_breaks_IwCompletedAboveDispatch()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            byte irql = bench.Lower.KfRaiseIrql(DISPATCH_LEVEL + 1);
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.KeLowerIrql(irql);
            return STATUS_SUCCESS;
        };
        Violation violation = bench.Breaks("IwCompletedAboveDispatch", "lower");
        Assert.Equal(DISPATCH_LEVEL + 1, violation.Irql);
    }

    [Fact, Spec("CMP-27")]
    public void Completing_at_DISPATCH_LEVEL_is_right()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            byte irql = bench.Lower.KeRaiseIrqlToDpcLevel();
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.KeLowerIrql(irql);
            return STATUS_SUCCESS;
        };
        bench.IsSilent();
    }

    [Theory, Spec("CMP-27"), Spec("IRQL-04")]
    [InlineData(true, "SpinLockSafe")]
    [InlineData(false, null)]
    public void Completing_with_a_spin_lock_held_breaks_SpinLockSafe(bool held, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            PKSPIN_LOCK spinLock = bench.Lower.NewSpinLock();
            bench.Lower.KeAcquireSpinLock(spinLock, out byte irql);
            if (held) bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.KeReleaseSpinLock(spinLock, irql);
            if (!held) bench.Lower.Complete(irp, STATUS_SUCCESS);
            return STATUS_SUCCESS;
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "lower");
    }

    [Fact, Spec("CMP-27")]
    public void A_lock_of_the_driver_above_is_not_the_completing_drivers()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            PKSPIN_LOCK spinLock = bench.Upper.NewSpinLock();
            bench.Upper.KeAcquireSpinLock(spinLock, out byte irql);
            NTSTATUS status = bench.Upper.SkipDown(irp);
            bench.Upper.KeReleaseSpinLock(spinLock, irql);
            return status;
        };
        bench.IsSilent();
    }

    [Theory, Spec("CMP-28")]
    [InlineData(true, "IwCompletedCancelable")]
    [InlineData(false, null)]
    public void Completing_with_the_cancel_routine_set_breaks_IwCompletedCancelable(bool keeps, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
            if (!keeps) bench.Lower.IoSetCancelRoutine(irp, default);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        if (rule is null) bench.IsSilent();
        else Assert.Equal("0xC9/0x7", bench.Breaks(rule, "lower").Rule.Code.ToString());
    }

    [Fact]
    public void Completing_twice_breaks_DoubleCompletion_with_the_first_culprit()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        Violation violation = bench.Breaks("DoubleCompletion", "lower");
        Assert.EndsWith("which lower!Dispatch had completed already.", violation.Sentence, StringComparison.Ordinal);
        Assert.IsType<BugCheckException>(bench.Stop);
    }

    [Fact]
    public void Completing_again_what_the_driver_above_took_back_breaks_DoubleCompletion()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.CopyDown(irp);
            return STATUS_PENDING;
        };
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        bench.Lower.Read = irp =>
        {
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.IoCompleteRequest(irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
        };
        Assert.Contains("upper", bench.Breaks("DoubleCompletion", "lower").Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void A_routine_that_completes_its_own_IRP_and_keeps_the_walk_from_going_on_is_right()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.CopyDown(irp);
            return STATUS_PENDING;
        };
        bench.Upper.Done = irp =>
        {
            bench.Upper.IoCompleteRequest(irp, IO_NO_INCREMENT);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.IsSilent();
    }

    [Fact, Spec("IMP-07")]
    public void A_routine_that_retries_is_right()
    {
        using var bench = new Bench();
        int tries = 0;
        bench.Lower.Read = irp => bench.Lower.CompleteLater(irp, ++tries < 3 ? STATUS_DEVICE_NOT_READY : STATUS_SUCCESS);
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.CopyDown(irp);
            return STATUS_PENDING;
        };
        bench.Upper.Done = irp =>
        {
            if (irp.IoStatus.Status == STATUS_SUCCESS) return STATUS_CONTINUE_COMPLETION;
            irp.IoStatus.Status = STATUS_SUCCESS;
            irp.IoStatus.Information = 0;
            bench.Upper.CopyDown(irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        bench.IsSilent();
        Assert.Equal(3, tries);
    }

    [Fact, Spec("PEND-11")]
    public void Returning_without_having_done_anything_breaks_IrpProcessingComplete()
    {
        using var bench = new Bench();
        bench.Lower.Read = _ => STATUS_INVALID_PARAMETER;
        Assert.Equal("0xC9/0x226", bench.Breaks("IrpProcessingComplete", "lower").Rule.Code.ToString());
    }

    [Fact, Spec("PEND-11")]
    public void Returning_a_final_status_for_what_the_own_routine_keeps_breaks_IrpProcessingComplete()
    {
        using var bench = new Bench();
        bench.Upper.Done = _ => STATUS_MORE_PROCESSING_REQUIRED;
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.Breaks("IrpProcessingComplete", "upper");
    }

    [Fact, Spec("CMP-30")]
    public void Returning_another_status_than_the_lower_driver_breaks_LowerDriverReturn()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_DEVICE_NOT_READY);
        bench.Upper.Read = irp =>
        {
            bench.Upper.SkipDown(irp);
            return STATUS_SUCCESS;
        };
        bench.Breaks("LowerDriverReturn", "upper");
    }

    [Fact, Spec("CMP-30")]
    public void Returning_another_status_than_it_completed_with_breaks_IwOtherStatusReturned()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.Complete(irp, STATUS_DEVICE_NOT_READY);
            return STATUS_SUCCESS;
        };
        Violation violation = bench.Breaks("IwOtherStatusReturned", "lower");
        Assert.Contains("STATUS_DEVICE_NOT_READY", violation.Sentence, StringComparison.Ordinal);
    }

    [Fact, Spec("IMP-05")]
    public void A_routine_that_changes_the_status_behind_its_dispatch_routine_breaks_IwOtherStatusReturned()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp => bench.Upper.CopyDown(irp);
        bench.Upper.Done = irp =>
        {
            irp.IoStatus.Status = STATUS_DEVICE_NOT_READY;
            return STATUS_CONTINUE_COMPLETION;
        };
        bench.Breaks("IwOtherStatusReturned", "upper");
    }

    [Fact, Spec("IMP-06")]
    public void A_routine_may_change_the_status_when_its_dispatch_routine_pended()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            bench.Upper.IoMarkIrpPending(irp);
            bench.Upper.CopyDown(irp);
            return STATUS_PENDING;
        };
        bench.Upper.Done = irp =>
        {
            irp.IoStatus.Status = STATUS_DEVICE_NOT_READY;
            return STATUS_CONTINUE_COMPLETION;
        };
        Assert.Equal(STATUS_DEVICE_NOT_READY, bench.Read().Status);
        Assert.Empty(bench.Verifier.Violations);
    }

    [Fact]
    public void Returning_minus_one_breaks_IwUninitializedStatus()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.Complete(irp, STATUS_SUCCESS);
            return (NTSTATUS)(-1);
        };
        Assert.Contains("IwUninitializedStatus", bench.Broken());
    }

    [Theory, Spec("BUILD-15")]
    [InlineData(true, true, "IwEventSetBeforeSending")]
    [InlineData(true, false, null)]
    [InlineData(false, true, null)]
    public void Sending_a_threaded_IRP_with_its_event_set_breaks_IwEventSetBeforeSending_if_it_pends(bool set, bool pends, string? rule)
    {
        using var bench = new Bench();
        if (pends) CompleteControlsLater(bench);
        bench.Upper.Read = irp =>
        {
            PKEVENT done = bench.Upper.NewEvent();
            if (set) bench.Upper.KeSetEvent(done, 0, false);
            PIO_STATUS_BLOCK iosb = new(bench.Upper.Allocate(16).Address);
            NTSTATUS status = bench.Upper.IoCallDriver(bench.Upper.Lower, bench.Upper.BuildControl(0x00222000, done, iosb));
            if (status == STATUS_PENDING) bench.Upper.Wait(done);
            return bench.Upper.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Fact, Spec("BUILD-15")]
    public void Setting_the_event_of_a_threaded_IRP_breaks_IoBuildDeviceIoControlSetEvent()
    {
        using var bench = new Bench();
        PKEVENT done = default;
        bench.Upper.Read = irp =>
        {
            done = bench.Upper.NewEvent();
            PIO_STATUS_BLOCK iosb = new(bench.Upper.Allocate(16).Address);
            PIRP own = bench.Upper.BuildControl(0x00222000, done, iosb);
            bench.Upper.SetCompletionRoutine(own, bench.Upper.CompletionRoutine);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            return bench.Upper.SkipDown(irp);
        };
        bench.Upper.Done = _ =>
        {
            bench.Upper.KeSetEvent(done, 0, false);
            return STATUS_CONTINUE_COMPLETION;
        };
        bench.Breaks("IoBuildDeviceIoControlSetEvent", "upper");
    }

    static void CompleteControlsLater(Bench bench) =>
        bench.Lower.Other = irp => bench.Lower.IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_DEVICE_CONTROL
            ? bench.Lower.CompleteLater(irp)
            : bench.Lower.Complete(irp, STATUS_SUCCESS);

    [Theory, Spec("COMPLETE-FINAL-11")]
    [InlineData(17, "IwInformationTooLarge")]
    [InlineData(16, null)]
    public void More_Information_than_the_buffer_takes_breaks_IwInformationTooLarge(int information, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp => bench.Lower.Complete(irp, STATUS_SUCCESS, (ulong)information);
        if (rule is null) bench.IsSilent();
        else Assert.Contains("takes 16", bench.Breaks(rule, "lower").Sentence, StringComparison.Ordinal);
    }
}
