using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class BuiltRequestTests : DriverTest
{
    const uint InDirect = METHOD_IN_DIRECT, OutDirect = METHOD_OUT_DIRECT, Neither = METHOD_NEITHER;

    static uint Code(uint method) => 0x0022_E000 | method;

    PDEVICE_OBJECT Target(DO_FLAGS flags = 0) => Device((_, irp) => Complete(irp, STATUS_SUCCESS), flags: flags);

    PVOID Data(int length)
    {
        PVOID data = Memory(length);
        Fill(data, length);
        return data;
    }

    [Theory]
    [InlineData(IrpOrigin.Threaded, true)]
    [InlineData(IrpOrigin.Threaded, false)]
    [InlineData(IrpOrigin.Asynchronous, false)]
    [Spec("BUILD-01"), Spec("BUILD-02"), Spec("BUILD-12")]
    public void A_request_has_the_targets_locations_the_first_filled_and_belongs_to_the_thread(IrpOrigin origin, bool control) => Run(() =>
    {
        PDEVICE_OBJECT bottom = Target();
        PDEVICE_OBJECT top = Device((_, irp) => Complete(irp, STATUS_SUCCESS), above: bottom);
        PIO_STATUS_BLOCK block = StatusBlock();
        PKEVENT done = Event();
        PIRP irp = (origin, control) switch
        {
            (IrpOrigin.Threaded, true) => IoBuildDeviceIoControlRequest(Code(Neither), top, default, 0, default, 0, false, done, block),
            (IrpOrigin.Threaded, false) => IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, top, default, 0, null, done, block),
            _ => IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, top, default, 0, null, block),
        };
        Assert.Equal(2, irp.StackCount);
        Assert.Equal(3, irp.CurrentLocation);
        Assert.Equal(control ? IRP_MJ_DEVICE_CONTROL : IRP_MJ_FLUSH_BUFFERS, Location(irp, 2).MajorFunction);
        Assert.Equal(new byte[0x48], Bytes(Location(irp, 1), 0x48));
        Assert.Equal(block, irp.UserIosb);
        Assert.Equal(Machine.CurrentThread.Object, irp.Tail.Overlay.Thread);
        Assert.Equal(origin == IrpOrigin.Threaded ? done : default, irp.UserEvent);
        Assert.Equal((IRP_FLAGS)0, irp.Flags & IRP_SYNCHRONOUS_API);
        bool inThreadList = irp.Value.ThreadListEntry.Flink.Address != irp.Address + 0x20;
        Assert.Equal(origin == IrpOrigin.Threaded, inThreadList);
        if (origin == IrpOrigin.Asynchronous) OnCompletion(irp, Keep("kept"));
        IoCallDriver(top, irp);
    });

    [Theory]
    [InlineData(METHOD_BUFFERED, false)]
    [InlineData(METHOD_BUFFERED, true)]
    [InlineData(METHOD_IN_DIRECT, false)]
    [InlineData(METHOD_OUT_DIRECT, true)]
    [InlineData(METHOD_NEITHER, false)]
    [Spec("BUILD-03"), Spec("BUF-02")]
    public void A_control_request_carries_code_and_lengths_for_every_method(uint method, bool isInternal) => Run(() =>
    {
        PDEVICE_OBJECT target = Target(DO_DIRECT_IO | DO_BUFFERED_IO); // which control requests do not look at
        PIRP irp = IoBuildDeviceIoControlRequest(Code(method), target, Data(24), 24, Data(40), 40, isInternal, Event(), StatusBlock());
        PIO_STACK_LOCATION first = Location(irp, 1);
        Assert.Equal(isInternal ? 0x0F : 0x0E, first.MajorFunction);
        Assert.Equal(Code(method), first.Parameters.DeviceIoControl.IoControlCode);
        Assert.Equal(24U, first.Parameters.DeviceIoControl.InputBufferLength);
        Assert.Equal(40U, first.Parameters.DeviceIoControl.OutputBufferLength);
        Assert.Equal(KernelMode, irp.RequestorMode);
        irp.RequestorMode = UserMode; // the creator may change its mind
        Assert.Equal(STATUS_SUCCESS, IoCallDriver(target, irp));
    });

    public class Buffered_control_requests : DriverTest
    {
        [Theory]
        [InlineData(24, 40)]
        [InlineData(40, 24)]
        [InlineData(40, 0)]
        [InlineData(0, 40)]
        [Spec("BUILD-04"), Spec("BUF-06")]
        public void Share_one_system_buffer_of_the_larger_length(int inputLength, int outputLength) => Run(() =>
        {
            PVOID input = inputLength == 0 ? default : Memory(inputLength);
            PVOID output = outputLength == 0 ? default : Memory(outputLength);
            if (inputLength > 0) Fill(input, inputLength);
            PVOID system = default;
            PDEVICE_OBJECT target = Device((_, irp) =>
            {
                system = irp.AssociatedIrp.SystemBuffer;
                Assert.Equal(Enumerable.Range(0, inputLength).Select(i => (byte)(0x80 | i)), Bytes(system, inputLength));
                // Room for the larger of both.
                GuestMemory.Write(system.Address + (ulong)inputLength, Math.Max(inputLength, outputLength) - inputLength).Fill(0x77);
                return Complete(irp, STATUS_SUCCESS, (ulong)outputLength);
            });
            PIRP irp = IoBuildDeviceIoControlRequest(
                Code(METHOD_BUFFERED), target, input, (uint)inputLength, output, (uint)outputLength, false, Event(), StatusBlock());
            Assert.Equal(output, irp.UserBuffer);
            Assert.True(irp.MdlAddress.IsNull);
            Assert.Equal(IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | (output.IsNull ? 0 : IRP_INPUT_OPERATION), irp.Flags);
            Assert.NotEqual(input, irp.AssociatedIrp.SystemBuffer);
            Assert.NotEqual(output, irp.AssociatedIrp.SystemBuffer);
            IoCallDriver(target, irp);
            // The input comes back where the driver wrote nothing.
            byte[] expected = [.. Enumerable.Range(0, inputLength).Select(i => (byte)(0x80 | i)), .. Enumerable.Repeat((byte)0x77, 40)];
            if (outputLength > 0) Assert.Equal(expected[..outputLength], Bytes(output, outputLength));
        });

        [Fact]
        [Spec("BUILD-04"), Spec("BUF-04")]
        public void Have_no_buffer_when_both_lengths_are_zero() => Run(() =>
        {
            PDEVICE_OBJECT target = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            PVOID ignored = Memory(8);
            PIRP irp = IoBuildDeviceIoControlRequest(Code(METHOD_BUFFERED), target, ignored, 0, ignored, 0, false, Event(), StatusBlock());
            Assert.True(irp.AssociatedIrp.SystemBuffer.IsNull);
            Assert.True(irp.UserBuffer.IsNull);
            Assert.Equal((IRP_FLAGS)0, irp.Flags);
            Assert.Equal(STATUS_SUCCESS, IoCallDriver(target, irp));
        });
    }

    [Theory]
    [InlineData(InDirect, true, true)]
    [InlineData(OutDirect, true, true)]
    [InlineData(OutDirect, false, true)]
    [InlineData(InDirect, true, false)]
    [Spec("BUILD-05")]
    public void A_direct_control_request_copies_its_first_buffer_and_locks_its_second(uint method, bool hasInput, bool hasOutput) => Run(() =>
    {
        PVOID input = hasInput ? Data(24) : default;
        PVOID output = hasOutput ? Data(40) : default;
        PDEVICE_OBJECT target = Target();
        PIRP irp = IoBuildDeviceIoControlRequest(Code(method), target, input, hasInput ? 24U : 0, output, hasOutput ? 40U : 0, false, Event(), StatusBlock());
        Assert.Equal(hasInput ? IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER : 0, irp.Flags);
        Assert.Equal(hasInput, !irp.AssociatedIrp.SystemBuffer.IsNull);
        if (hasInput) Assert.Equal(Bytes(input, 24), Bytes(irp.AssociatedIrp.SystemBuffer, 24));
        Assert.Equal(hasOutput, !irp.MdlAddress.IsNull);
        if (hasOutput) AssertDescribes(irp.MdlAddress, output, 40);
        Assert.Equal(STATUS_SUCCESS, IoCallDriver(target, irp));
    });

    static void AssertDescribes(PMDL mdl, PVOID buffer, uint length)
    {
        Assert.Equal(buffer.Address, mdl.StartVa.Address + mdl.ByteOffset);
        Assert.Equal(length, mdl.ByteCount);
        Assert.NotEqual((MDL_FLAGS)0, mdl.MdlFlags & MDL_PAGES_LOCKED);
    }

    [Fact]
    [Spec("BUILD-06")]
    public void A_control_request_with_neither_carries_plain_pointers() => Run(() =>
    {
        PDEVICE_OBJECT target = Target();
        // Nobody looks at them, so they need not even be addresses.
        PIRP irp = IoBuildDeviceIoControlRequest(Code(Neither), target, new PVOID(0x1001), 24, new PVOID(0x2002), 40, false, Event(), StatusBlock());
        Assert.Equal(0x1001UL, Location(irp, 1).Parameters.DeviceIoControl.Type3InputBuffer.Address);
        Assert.Equal(0x2002UL, irp.UserBuffer.Address);
        Assert.True(irp.AssociatedIrp.SystemBuffer.IsNull);
        Assert.True(irp.MdlAddress.IsNull);
        Assert.Equal((IRP_FLAGS)0, irp.Flags);
        Assert.Equal(STATUS_SUCCESS, IoCallDriver(target, irp));
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("BUILD-07")]
    public void A_control_request_is_appended_to_the_threads_list_with_or_without_an_event(bool hasEvent) => Run(() =>
    {
        PDEVICE_OBJECT target = Target();
        PIRP first = IoBuildDeviceIoControlRequest(Code(Neither), target, default, 0, default, 0, false, Event(), StatusBlock());
        KeRaiseIrql(APC_LEVEL, out KIRQL old);
        PIRP second = IoBuildDeviceIoControlRequest(Code(Neither), target, default, 0, default, 0, false, hasEvent ? Event() : default, StatusBlock());
        KeLowerIrql(old);
        Assert.Equal(second.Address + 0x20, first.Value.ThreadListEntry.Flink.Address);
        Assert.Equal(hasEvent, !second.UserEvent.IsNull);
        if (!hasEvent) OnCompletion(second, Continue("routine instead of an event"));
        IoCallDriver(target, second);
        Assert.NotEqual(second.Address + 0x20, first.Value.ThreadListEntry.Flink.Address);
        IoCallDriver(target, first);
    });

    [Theory]
    [InlineData(IRP_MJ_READ, true)]
    [InlineData(IRP_MJ_WRITE, true)]
    [InlineData(IRP_MJ_FLUSH_BUFFERS, false)]
    [InlineData(IRP_MJ_SHUTDOWN, false)]
    [InlineData(IRP_MJ_PNP, false)]
    [Spec("BUILD-08"), Spec("BUILD-11")]
    public void Only_reads_and_writes_use_buffer_length_and_offset(byte major, bool transfers) => Run(() =>
    {
        PDEVICE_OBJECT target = Target();
        PVOID buffer = Data(64);
        foreach (bool synchronous in (bool[])[false, true])
        {
            PIRP irp = synchronous
                ? IoBuildSynchronousFsdRequest(major, target, buffer, 64, 0x1_2345_6789, Event(), StatusBlock())
                : IoBuildAsynchronousFsdRequest(major, target, buffer, 64, 0x1_2345_6789, StatusBlock());
            PIO_STACK_LOCATION first = Location(irp, 1);
            Assert.Equal(major, first.MajorFunction);
            Assert.Equal(transfers ? 64U : 0, first.Parameters.Read.Length);
            Assert.Equal(transfers ? 0x1_2345_6789 : 0, first.Parameters.Read.ByteOffset);
            Assert.Equal(0U, first.Parameters.Read.Key);
            Assert.Equal(transfers ? buffer : default, irp.UserBuffer);
            if (!synchronous) OnCompletion(irp, Keep("kept"));
            IoCallDriver(target, irp);
        }
    });

    [Fact]
    [Spec("BUILD-11")]
    public void A_missing_offset_is_zero() => Run(() =>
    {
        PIRP irp = IoBuildAsynchronousFsdRequest(IRP_MJ_READ, Target(), Data(8), 8, null, StatusBlock());
        Assert.Equal(0, Location(irp, 1).Parameters.Read.ByteOffset);
    });

    [Theory]
    [InlineData(DO_BUFFERED_IO)]
    [InlineData(DO_BUFFERED_IO | DO_DIRECT_IO)]
    [Spec("BUILD-09"), Spec("BUF-03")]
    public void A_buffered_transfer_has_a_system_buffer_filled_for_a_write(DO_FLAGS flags) => Run(() =>
    {
        PDEVICE_OBJECT target = Target(flags);
        PVOID buffer = Data(64);
        PIRP write = IoBuildAsynchronousFsdRequest(IRP_MJ_WRITE, target, buffer, 64, 0, StatusBlock());
        Assert.Equal((IRP_FLAGS)0x30, write.Flags);
        Assert.Equal(Bytes(buffer, 64), Bytes(write.AssociatedIrp.SystemBuffer, 64));
        Assert.True(write.MdlAddress.IsNull);
        PIRP read = IoBuildAsynchronousFsdRequest(IRP_MJ_READ, target, buffer, 64, 0, StatusBlock());
        Assert.Equal((IRP_FLAGS)0x70, read.Flags);
        Assert.Equal(buffer, read.UserBuffer);
        Assert.False(read.AssociatedIrp.SystemBuffer.IsNull);
        Assert.NotEqual(buffer, read.AssociatedIrp.SystemBuffer);
        Assert.True(read.MdlAddress.IsNull);
    });

    [Theory]
    [InlineData(IRP_MJ_READ)]
    [InlineData(IRP_MJ_WRITE)]
    [Spec("BUILD-10")]
    public void A_direct_transfer_is_described_by_a_locked_list(byte major) => Run(() =>
    {
        PVOID buffer = Data(64);
        PIRP irp = IoBuildAsynchronousFsdRequest(major, Target(DO_DIRECT_IO), buffer, 64, 0, StatusBlock());
        AssertDescribes(irp.MdlAddress, buffer, 64);
        Assert.True(irp.AssociatedIrp.SystemBuffer.IsNull);
        Assert.Equal((IRP_FLAGS)0, irp.Flags);
    });

    [Fact]
    [Spec("BUILD-10")]
    public void A_transfer_to_a_device_with_neither_flag_carries_the_callers_pointer() => Run(() =>
    {
        PVOID buffer = Data(64);
        PIRP irp = IoBuildAsynchronousFsdRequest(IRP_MJ_WRITE, Target(), buffer, 64, 0, StatusBlock());
        Assert.Equal(buffer, irp.UserBuffer);
        Assert.True(irp.MdlAddress.IsNull);
        Assert.True(irp.AssociatedIrp.SystemBuffer.IsNull);
        Assert.Equal((IRP_FLAGS)0, irp.Flags);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("BUILD-13")]
    public void A_threaded_request_is_freed_by_the_io_manager(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT target = Device((_, i) => CompleteSomehow(i, how, STATUS_SUCCESS));
        PKEVENT done = Event();
        PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, StatusBlock());
        IoCallDriver(target, irp);
        Wait(done);
        // The APC that set the event freed the packet, too, before this thread went on.
        Assert.NotEqual(IO_TYPE_IRP, irp.Type);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("BUILD-14"), Spec("CANCEL-15")]
    public void The_end_of_the_creating_thread_cancels_its_requests_and_waits_for_them(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT target = Device((_, i) =>
        {
            IoMarkIrpPending(i);
            IoSetCancelRoutine(i, (_, cancelled) =>
            {
                IoReleaseCancelSpinLock(cancelled.CancelIrql);
                Step("cancelled");
                // Not at once: the thread has to wait.
                AfterOneMillisecond((_, _, _, _) =>
                {
                    Step("completed");
                    Complete(cancelled, STATUS_CANCELLED);
                });
            });
            return STATUS_PENDING;
        });
        PIO_STATUS_BLOCK block = StatusBlock();
        PKEVENT done = Event();
        Start(() =>
        {
            IoCallDriver(target, IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, target, default, 0, null, done, block));
            Step("thread ends");
        });
        Wait(done);
        Assert.Equal(["thread ends", "cancelled", "completed"], Steps);
        Assert.Equal(STATUS_CANCELLED, block.Status);
    });
}
