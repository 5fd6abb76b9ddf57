namespace Irpwright.Verification.Tests;

public class IrqlTests
{
    [Fact, Spec("IRQL-04"), Spec("CALL-11")]
    public void A_dispatch_routine_that_returns_at_another_IRQL_breaks_IrqlReturn()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            NTSTATUS status = bench.Upper.SkipDown(irp);
            bench.Upper.KeLowerIrql(PASSIVE_LEVEL);
            return status;
        };
        bench.Lower.Read = irp =>
        {
            bench.Lower.KeRaiseIrqlToDpcLevel();
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        Violation violation = bench.Breaks("IrqlReturn", "lower");
        Assert.Equal("0xC9/0x5", violation.Rule.Code.ToString());
    }

    [Fact, Spec("IRQL-04")]
    public void A_completion_routine_that_returns_at_another_IRQL_breaks_IrqlReturn()
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            NTSTATUS status = bench.Upper.CopyDown(irp);
            bench.Upper.KeLowerIrql(PASSIVE_LEVEL);
            return status;
        };
        bench.Upper.Done = _ =>
        {
            bench.Upper.KeRaiseIrqlToDpcLevel();
            return STATUS_CONTINUE_COMPLETION;
        };
        Assert.Equal("upper!OnDone", bench.Breaks("IrqlReturn", "upper").Symbol);
    }

    [Theory, Spec("IRQL-04")]
    [InlineData(true, "IrqlReturn")]
    [InlineData(false, null)]
    public void A_cancel_routine_that_releases_the_lock_with_another_IRQL_breaks_IrqlReturn(bool wrong, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
            return STATUS_PENDING;
        };
        bench.Lower.Cancelled = irp =>
        {
            bench.Lower.IoReleaseCancelSpinLock(wrong ? APC_LEVEL : irp.CancelIrql);
            bench.Lower.Complete(irp, STATUS_CANCELLED);
        };
        // No APC finishes a request in a thread that stays at APC_LEVEL.
        if (wrong) Assert.Throws<MachineHungException>(() => Cancel(bench));
        else Cancel(bench);
        Assert.Equal(rule is null ? [] : [rule], bench.Verifier.Violations.Select(v => v.Rule.Name));
    }

    [Fact]
    public void A_cancel_routine_that_completes_before_it_releases_the_lock_breaks_SpinLockSafe()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
            return STATUS_PENDING;
        };
        bench.Lower.Cancelled = irp =>
        {
            byte irql = irp.CancelIrql;
            bench.Lower.Complete(irp, STATUS_CANCELLED);
            bench.Lower.IoReleaseCancelSpinLock(irql);
        };
        Cancel(bench);
        Violation violation = Assert.Single(bench.Verifier.Violations);
        Assert.Equal(("SpinLockSafe", "lower!OnCancel"), (violation.Rule.Name, violation.Symbol));
    }

    static void Cancel(Bench bench) => bench.Machine.Run(() =>
    {
        using DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName);
        IoOperation read = handle.StartRead(new byte[16]);
        read.Cancel();
        Assert.Equal(STATUS_CANCELLED, read.Wait().Status);
    });

    [Fact]
    public void A_dispatch_routine_that_returns_with_a_spin_lock_breaks_SpinLock()
    {
        using var bench = new Bench();
        PKSPIN_LOCK spinLock = default;
        byte irql = 0;
        bench.Lower.Read = irp =>
        {
            spinLock = bench.Lower.NewSpinLock();
            NTSTATUS status = bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.KeAcquireSpinLock(spinLock, out irql);
            return status;
        };
        bench.Upper.Read = irp =>
        {
            NTSTATUS status = bench.Upper.SkipDown(irp);
            bench.Upper.KeReleaseSpinLock(spinLock, irql);
            return status;
        };
        Assert.Equal(["IrqlReturn", "SpinLock"], bench.Broken().Order(StringComparer.Ordinal));
    }

    [Theory, Spec("IRQL-03")]
    [InlineData("IofCallDriver", DISPATCH_LEVEL)]
    [InlineData("IofCompleteRequest", DISPATCH_LEVEL)]
    [InlineData("IoAllocateIrp", DISPATCH_LEVEL)]
    [InlineData("IoFreeIrp", DISPATCH_LEVEL)]
    [InlineData("IoReuseIrp", DISPATCH_LEVEL)]
    [InlineData("IoCancelIrp", DISPATCH_LEVEL)]
    [InlineData("IoAttachDeviceToDeviceStack", DISPATCH_LEVEL)]
    [InlineData("IoAcquireRemoveLockEx", DISPATCH_LEVEL)]
    [InlineData("IoReleaseRemoveLockEx", DISPATCH_LEVEL)]
    [InlineData("IoBuildDeviceIoControlRequest", APC_LEVEL)]
    [InlineData("IoBuildAsynchronousFsdRequest", APC_LEVEL)]
    [InlineData("IoBuildSynchronousFsdRequest", APC_LEVEL)]
    [InlineData("IoForwardIrpSynchronously", APC_LEVEL)]
    [InlineData("IoCreateDevice", APC_LEVEL)]
    [InlineData("IoDeleteDevice", APC_LEVEL)]
    [InlineData("IoReleaseRemoveLockAndWaitEx", PASSIVE_LEVEL)]
    [InlineData("IoDetachDevice", PASSIVE_LEVEL)]
    public void The_routines_that_handle_IRPs_have_their_documented_highest_IRQL(string routine, byte highest) =>
        Assert.Equal(highest, KernelExports.Find(routine)!.MaxIrql);

    [Theory, Spec("IRQL-03")]
    [InlineData(DISPATCH_LEVEL, "IrqlIoPassive4")]
    [InlineData(PASSIVE_LEVEL, null)]
    public void A_routine_for_PASSIVE_LEVEL_called_above_it_breaks_the_rule_that_names_it(byte irql, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            byte previous = bench.Lower.KfRaiseIrql(irql);
            bench.Lower.CreateLink(@"\DosDevices\Probe", Bench.DeviceName);
            bench.Lower.KeLowerIrql(previous);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        if (rule is null) bench.IsSilent();
        else Assert.Contains("called IoCreateSymbolicLink at IRQL 2", bench.Breaks(rule, "lower").Sentence, StringComparison.Ordinal);
    }

    [Fact, Spec("IRQL-03")]
    public void Two_routines_at_a_bad_IRQL_in_one_place_are_two_violations()
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            PKEVENT signal = bench.Lower.NewEvent();
            bench.Lower.KfRaiseIrql(DISPATCH_LEVEL + 1);
            bench.Lower.KeSetEvent(signal, 0, false);
            bench.Lower.CreateLink(@"\DosDevices\Probe", Bench.DeviceName);
            bench.Lower.KeLowerIrql(PASSIVE_LEVEL);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        Assert.Equal(["IrqlKeSetEvent", "IrqlIoPassive4"], bench.Broken());
    }

    [Theory, Spec("SYNC-08")]
    [InlineData(APC_LEVEL, "IwThreadedAtApcLevel")]
    [InlineData(PASSIVE_LEVEL, null)]
    public void Sending_a_threaded_IRP_at_APC_LEVEL_breaks_IwThreadedAtApcLevel(byte irql, string? rule)
    {
        using var bench = new Bench();
        bench.Upper.Read = irp =>
        {
            PIO_STATUS_BLOCK iosb = new(bench.Upper.Allocate(16).Address);
            PIRP own = bench.Upper.BuildControl(0x00222000, bench.Upper.NewEvent(), iosb);
            byte previous = bench.Upper.KfRaiseIrql(irql);
            bench.Upper.IoCallDriver(bench.Upper.Lower, own);
            bench.Upper.KeLowerIrql(previous);
            return bench.Upper.SkipDown(irp);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "upper");
    }

    [Theory, Spec("DPC-08")]
    [InlineData(true, "IwWaitAtDispatch")]
    [InlineData(false, null)]
    public void A_wait_that_may_block_at_DISPATCH_LEVEL_breaks_IwWaitAtDispatch(bool mayBlock, string? rule)
    {
        using var bench = new Bench();
        bench.Lower.Read = irp =>
        {
            PKEVENT signalled = bench.Lower.NewEvent();
            bench.Lower.KeSetEvent(signalled, 0, false);
            byte previous = bench.Lower.KeRaiseIrqlToDpcLevel();
            bench.Lower.KeWaitForSingleObject(signalled, KWAIT_REASON.Executive, MODE.KernelMode, false, mayBlock ? null : 0L);
            bench.Lower.KeLowerIrql(previous);
            return bench.Lower.Complete(irp, STATUS_SUCCESS);
        };
        if (rule is null) bench.IsSilent();
        else bench.Breaks(rule, "lower");
    }
}
