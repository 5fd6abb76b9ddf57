using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class PendingTests : DriverTest
{
    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [InlineData(5)]
    [Spec("PEND-01")]
    public void Marking_sets_one_bit_of_the_current_location_at_any_level(byte irql) => Run(() =>
    {
        PIRP irp = IoAllocateIrp(2, false);
        IoSetNextIrpStackLocation(irp);
        Fill(Location(irp, 1), 0x90);
        Location(irp, 2).Control = SL_INVOKE_ON_ERROR;
        byte[] expected = Bytes(irp, irp.Size);
        expected[0xD0 + 0x48 + 3] |= 0x01;
        KeRaiseIrql(irql, out KIRQL old);
        IoMarkIrpPending(irp);
        KeLowerIrql(old);
        Assert.Equal(expected, Bytes(irp, irp.Size));
    });

    [Fact]
    [Spec("PEND-02")]
    public void Only_the_walk_writes_PendingReturned() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            IoMarkIrpPending(irp);
            Assert.False(irp.PendingReturned);
            Complete(irp, STATUS_SUCCESS);
            return STATUS_PENDING;
        });
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            Assert.False(irp.PendingReturned);
            IoCopyCurrentIrpStackLocationToNext(irp);
            Assert.False(irp.PendingReturned);
            OnCompletion(irp, (_, i, _) =>
            {
                Assert.True(i.PendingReturned);
                return STATUS_CONTINUE_COMPLETION;
            });
            return IoCallDriver(bottom, irp);
        }, above: bottom);
        PIRP irp = Packet(top);
        Assert.False(irp.PendingReturned);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(top, irp);
        Assert.False(irp.PendingReturned); // the routine of the top device did not mark
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("PEND-03"), Spec("PEND-05")]
    public void A_driver_that_marks_and_returns_pending_has_its_request_finished_once(Completing how, Scheduling scheduling) => Run(scheduling, () =>
    {
        Device((_, irp) => CompleteSomehow(irp, how, STATUS_SUCCESS, IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_READ ? 3UL : 0),
            flags: DO_BUFFERED_IO, name: @"\Device\Pending");
        using DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Pending");
        IoOperation read = handle.StartRead(new byte[8]);
        Assert.Equal(how == Completing.Inline ? STATUS_SUCCESS : STATUS_PENDING, read.InitialStatus);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), read.Wait());
    });

    [Theory, MemberData(nameof(EveryCompletion))]
    [Spec("PEND-04")]
    public void A_driver_that_did_not_mark_may_return_the_pending_of_the_driver_below(Completing lower, Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) => CompleteSomehow(irp, lower, STATUS_SUCCESS), name: @"\Device\Pending");
        Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            return IoCallDriver(bottom, irp);
        }, above: bottom);
        using DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Pending");
        Assert.Equal(STATUS_SUCCESS, handle.Flush().Status);
    });

    [Fact]
    [Spec("PEND-05")]
    public void Pending_from_the_driver_below_may_come_after_the_routine_ran() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Lowest(Completing.InlineAfterMarking, STATUS_SUCCESS);
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, Continue("routine"));
            NTSTATUS status = IoCallDriver(bottom, irp);
            Step(status.Name);
            return status;
        }, above: bottom);
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(top, irp);
        Assert.Equal(["routine", "originator", "STATUS_PENDING"], Steps);
    });

    public class Between_a_marking_driver_and_the_top : DriverTest
    {
        /// <summary>What the top driver's routine finds in PendingReturned.</summary>
        bool SeenAbove(PDEVICE_OBJECT middle)
        {
            bool seen = false;
            PDEVICE_OBJECT top = Filter(middle, (_, i, _) =>
            {
                seen = i.PendingReturned;
                return STATUS_CONTINUE_COMPLETION;
            });
            PIRP irp = Packet(top);
            OnCompletion(irp, Keep("originator"));
            Assert.Equal(STATUS_PENDING, IoCallDriver(top, irp));
            Assert.Equal(["originator"], Steps);
            return seen;
        }

        [Fact]
        [Spec("PEND-06")]
        public void A_driver_without_a_routine_lets_the_mark_through() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Lowest(Completing.InlineAfterMarking, STATUS_SUCCESS);
            PDEVICE_OBJECT middle = Device((_, irp) =>
            {
                IoCopyCurrentIrpStackLocationToNext(irp);
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            Assert.True(SeenAbove(middle));
        });

        [Fact]
        [Spec("PEND-07")]
        public void A_routine_that_does_not_mark_hides_it_although_pending_is_returned() => Run(() =>
        {
            PDEVICE_OBJECT middle = Filter(Lowest(Completing.InlineAfterMarking, STATUS_SUCCESS), (_, _, _) => STATUS_CONTINUE_COMPLETION);
            Assert.False(SeenAbove(middle));
        });

        [Fact]
        [Spec("PEND-08")]
        public void A_driver_that_skips_shares_the_marked_location() => Run(() =>
        {
            PDEVICE_OBJECT bottom = Lowest(Completing.InlineAfterMarking, STATUS_SUCCESS);
            PDEVICE_OBJECT middle = Device((_, irp) =>
            {
                IoSkipCurrentIrpStackLocation(irp);
                return IoCallDriver(bottom, irp);
            }, above: bottom);
            Assert.True(SeenAbove(middle));
        });
    }
}
