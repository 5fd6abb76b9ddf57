using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class SynchronousIrpTests : DriverTest
{
    [Fact]
    [Spec("SYNC-01")]
    public void Forwarding_from_the_lowest_location_is_refused_and_changes_nothing() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Device((_, _) =>
        {
            Step("bottom");
            return STATUS_SUCCESS;
        });
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            byte[] before = Bytes(irp, irp.Size);
            Assert.False(IoForwardIrpSynchronously(bottom, irp));
            Assert.Equal(before, Bytes(irp, irp.Size));
            return Complete(irp, STATUS_UNSUCCESSFUL);
        });
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(top, irp);
        Assert.Equal(["originator"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("SYNC-02"), Spec("SYNC-03")]
    public void A_forwarded_packet_comes_back_uncompleted_with_the_lower_outcome(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            Assert.Equal(512U, IoGetCurrentIrpStackLocation(irp).Parameters.Read.Length);
            return CompleteSomehow(irp, lower, STATUS_DEVICE_NOT_READY, 77);
        });
        PDEVICE_OBJECT top = Device((device, irp) =>
        {
            IoGetCurrentIrpStackLocation(irp).Parameters.Read.Length = 512;
            Assert.True(IoForwardIrpSynchronously(bottom, irp));
            Assert.Equal(2, irp.CurrentLocation);
            Assert.Equal(device, IoGetCurrentIrpStackLocation(irp).DeviceObject);
            Assert.Equal(STATUS_DEVICE_NOT_READY, irp.IoStatus.Status);
            Assert.Equal(77UL, irp.IoStatus.Information);
            Step("back");
            return Complete(irp, irp.IoStatus.Status);
        }, above: bottom);
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        Assert.Equal(STATUS_DEVICE_NOT_READY, IoCallDriver(top, irp));
        Assert.Equal(["back", "originator"], Steps);
    });

    [Fact]
    [Spec("SYNC-03")]
    public void Forwarding_also_works_at_APC_LEVEL() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Lowest(Completing.FromAnotherThread, STATUS_SUCCESS);
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            Assert.True(IoForwardIrpSynchronously(bottom, irp));
            Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
            return Complete(irp, STATUS_SUCCESS);
        }, above: bottom);
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        KeRaiseIrql(APC_LEVEL, out KIRQL old);
        IoCallDriver(top, irp);
        KeLowerIrql(old);
        Assert.Equal(["originator"], Steps);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("SYNC-04")]
    public void A_prepared_packet_is_sent_and_waited_for(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Lowest(lower, STATUS_DEVICE_BUSY, 3);
        PIRP irp = Packet(bottom);
        Assert.Equal(STATUS_DEVICE_BUSY, IoSynchronousCallDriver(bottom, irp));
        Assert.Equal(3UL, irp.IoStatus.Information);
        Assert.Equal(2, irp.CurrentLocation);
        IoFreeIrp(irp);
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("SYNC-05")]
    public void A_threaded_request_needs_a_wait_only_after_a_pending_answer(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Lowest(lower, STATUS_SUCCESS, 5);
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, bottom, default, 0, null, done, block);
        NTSTATUS status = IoCallDriver(bottom, irp);
        if (status == STATUS_PENDING)
        {
            Wait(done);
            status = block.Status;
        }
        Assert.Equal(STATUS_SUCCESS, status);
        Assert.Equal(5UL, block.Information);
    });

    // The worked trace "threaded IOCTL" of the completion rules.
    [Theory]
    [InlineData(Completing.Inline, STATUS_SUCCESS, true, true)]
    [InlineData(Completing.Inline, STATUS_BUFFER_OVERFLOW, true, true)]
    [InlineData(Completing.Inline, STATUS_UNSUCCESSFUL, false, false)]
    [InlineData(Completing.FromAnotherThread, STATUS_UNSUCCESSFUL, true, false)]
    [InlineData(Completing.FromAnotherThread, STATUS_SUCCESS, true, true)]
    [InlineData(Completing.InlineAfterMarking, STATUS_UNSUCCESSFUL, true, false)]
    [InlineData(Completing.FromADpc, STATUS_UNSUCCESSFUL, true, false)]
    [Spec("SYNC-06"), Spec("SYNC-07"), Spec("COMPLETE-FINAL-10"), Spec("COMPLETE-FINAL-14"), Spec("COMPLETE-FINAL-15"), Spec("COMPLETE-FINAL-18")]
    public void Outcome_of_a_threaded_control_request(Completing lower, NTSTATUS status, bool delivered, bool dataCopied)
    {
        foreach (Scheduling scheduling in Enum.GetValues<Scheduling>())
        {
            using var test = new ThreadedControlRequest();
            test.Run(scheduling, lower, status, delivered, dataCopied);
        }
    }

    sealed class ThreadedControlRequest : DriverTest
    {
        public void Run(Scheduling scheduling, Completing lower, NTSTATUS status, bool delivered, bool dataCopied) => Run(scheduling, () =>
        {
            PDEVICE_OBJECT bottom = Device((_, irp) =>
            {
                GuestMemory.Write(irp.AssociatedIrp.SystemBuffer.Address, 4).Fill(0xEE);
                return CompleteSomehow(irp, lower, status, 4);
            });
            PKEVENT done = Event();
            PIO_STATUS_BLOCK block = StatusBlock();
            PVOID output = Memory(8);
            PIRP irp = IoBuildDeviceIoControlRequest(0x222000, bottom, default, 0, output, 8, false, done, block);
            NTSTATUS returned = IoCallDriver(bottom, irp);
            Assert.Equal(lower == Completing.Inline ? status : STATUS_PENDING, returned);
            if (returned == STATUS_PENDING) Wait(done);
            Assert.Equal(delivered, IsSet(done));
            Assert.Equal(delivered ? status : Untouched, block.Status);
            Assert.Equal(delivered ? 4UL : 0, block.Information);
            Assert.Equal(dataCopied ? [0xEE, 0xEE, 0xEE, 0xEE, 0, 0, 0, 0] : new byte[8], Bytes(output, 8));
        });
    }

    [Fact]
    [Spec("SYNC-08")]
    public void Waiting_for_a_threaded_request_at_APC_LEVEL_never_ends()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Lowest(Completing.FromAnotherThread, STATUS_SUCCESS);
            PKEVENT done = Event();
            PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, bottom, default, 0, null, done, StatusBlock());
            IoCallDriver(bottom, irp);
            KeRaiseIrql(APC_LEVEL, out _);
            Wait(done);
        }));
        Assert.Contains("waits for the event", hang.Message, StringComparison.Ordinal);
    }
}
