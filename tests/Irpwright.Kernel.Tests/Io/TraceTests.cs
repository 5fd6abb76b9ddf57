using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>Whole walks, as a timeline: each line is what a driver finds when it is called.</summary>
public class TraceTests : DriverTest
{
    readonly Dictionary<PDEVICE_OBJECT, string> names = [];

    string NameOf(PDEVICE_OBJECT device) => device.IsNull ? "no device" : names[device];

    /// <summary>Notes a dispatch.</summary>
    void Down(PDEVICE_OBJECT device, PIRP irp) => Step($"v {NameOf(device)} CL={irp.CurrentLocation}");

    /// <summary>Notes a completion routine: current location, PendingReturned, device, status.</summary>
    void Up(string routine, PDEVICE_OBJECT device, PIRP irp) =>
        Step($"^ {routine}({NameOf(device)}) CL={irp.CurrentLocation} pending={(bool)irp.PendingReturned} {irp.IoStatus.Status.Name}");

    PDEVICE_OBJECT Named(string name, PDEVICE_OBJECT above, DRIVER_DISPATCH dispatch)
    {
        PDEVICE_OBJECT device = Device((d, irp) =>
        {
            Down(d, irp);
            return dispatch(d, irp);
        }, above);
        names.Add(device, name);
        return device;
    }

    IO_COMPLETION_ROUTINE Routine(string name, NTSTATUS answer, Action<PIRP>? then = null) => (device, irp, _) =>
    {
        Up(name, device, irp);
        then?.Invoke(irp);
        return answer;
    };

    /// <summary>An originator without a location of its own whose routine R0 frees the packet.</summary>
    PIRP ThreeLocations(bool onErrorOnly = false)
    {
        PIRP irp = IoAllocateIrp(3, false);
        Assert.Equal(4, irp.CurrentLocation);
        IoSetCompletionRoutine(irp, (device, i, _) =>
        {
            Up("R0", device, i);
            IoFreeIrp(i);
            return STATUS_MORE_PROCESSING_REQUIRED;
        }, default, !onErrorOnly, true, !onErrorOnly);
        return irp;
    }

    void PendingBottom(out PDEVICE_OBJECT bottom, Action<PIRP> hold) => bottom = Named("B", default, (_, irp) =>
    {
        IoMarkIrpPending(irp);
        hold(irp);
        return STATUS_PENDING;
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("CMP-03"), Spec("CMP-05"), Spec("CMP-15"), Spec("CMP-17"), Spec("CMP-18")]
    public void Three_drivers_the_middle_one_copies_without_a_routine(bool topMarks) => Run(() =>
    {
        PIRP held = default;
        PendingBottom(out PDEVICE_OBJECT bottom, irp => held = irp);
        PDEVICE_OBJECT middle = Named("M", bottom, (_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            return IoCallDriver(bottom, irp);
        });
        PDEVICE_OBJECT top = Named("T", middle, (_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, Routine("RT", STATUS_SUCCESS, i =>
            {
                Assert.Equal(0, (byte)Location(i, 1).Control); // left and cleared
                Assert.Equal(0, (byte)Location(i, 2).Control);
                if (topMarks) IoMarkIrpPending(i);
            }));
            return IoCallDriver(middle, irp);
        });
        Assert.Equal(STATUS_PENDING, IoCallDriver(top, ThreeLocations()));
        Step("later");
        Complete(held, STATUS_SUCCESS);
        Step("returned");
        Assert.Equal(
        [
            "v T CL=3",
            "v M CL=2",
            "v B CL=1",
            "later",
            "^ RT(T) CL=3 pending=True STATUS_SUCCESS",
            $"^ R0(no device) CL=4 pending={topMarks} STATUS_SUCCESS",
            "returned",
        ], Steps);
    });

    [Fact]
    [Spec("CMP-26"), Spec("STK-06"), Spec("PEND-08")]
    public void Three_drivers_the_middle_one_skips() => Run(() =>
    {
        PIRP held = default;
        PendingBottom(out PDEVICE_OBJECT bottom, irp => held = irp);
        PDEVICE_OBJECT middle = Named("M", bottom, (_, irp) =>
        {
            IoSkipCurrentIrpStackLocation(irp);
            return IoCallDriver(bottom, irp);
        });
        byte[] unused = [];
        PDEVICE_OBJECT top = Named("T", middle, (_, irp) =>
        {
            Fill(Location(irp, 1), 0x48);
            unused = Bytes(Location(irp, 1), 0x48);
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, Routine("RT", STATUS_SUCCESS, i => Assert.Equal(unused, Bytes(Location(i, 1), 0x48))));
            return IoCallDriver(middle, irp);
        });
        Assert.Equal(STATUS_PENDING, IoCallDriver(top, ThreeLocations()));
        Complete(held, STATUS_SUCCESS);
        Assert.Equal(
        [
            "v T CL=3",
            "v M CL=2",
            "v B CL=2",
            "^ RT(T) CL=3 pending=True STATUS_SUCCESS",
            "^ R0(no device) CL=4 pending=False STATUS_SUCCESS",
        ], Steps);
    });

    [Fact]
    [Spec("CMP-16"), Spec("IMP-04")]
    public void The_top_driver_keeps_the_packet_after_an_inline_error_and_completes_it() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Named("B", default, (_, irp) => Complete(irp, STATUS_UNSUCCESSFUL));
        PDEVICE_OBJECT middle = Named("M", bottom, (_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            return IoCallDriver(bottom, irp);
        });
        PDEVICE_OBJECT top = Named("T", middle, (_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, Routine("RT", STATUS_MORE_PROCESSING_REQUIRED));
            NTSTATUS status = IoCallDriver(middle, irp);
            Step($"T continues with {status.Name} CL={irp.CurrentLocation}");
            IoCompleteRequest(irp, IO_NO_INCREMENT);
            return status;
        });
        Assert.Equal(STATUS_UNSUCCESSFUL, IoCallDriver(top, ThreeLocations(onErrorOnly: true)));
        Assert.Equal(
        [
            "v T CL=3",
            "v M CL=2",
            "v B CL=1",
            "^ RT(T) CL=3 pending=False STATUS_UNSUCCESSFUL",
            "T continues with STATUS_UNSUCCESSFUL CL=3",
            "^ R0(no device) CL=4 pending=False STATUS_UNSUCCESSFUL",
        ], Steps);
    });

    [Fact]
    [Spec("CMP-22"), Spec("IMP-07")]
    public void The_top_drivers_routine_sends_the_packet_again() => Run(() =>
    {
        int attempts = 0;
        PDEVICE_OBJECT bottom = Named("B", default, (_, irp) => Complete(irp, ++attempts == 1 ? STATUS_DEVICE_BUSY : STATUS_SUCCESS));
        PDEVICE_OBJECT middle = Named("M", bottom, (_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            return IoCallDriver(bottom, irp);
        });
        IO_COMPLETION_ROUTINE? retry = null;
        retry = (device, irp, _) =>
        {
            Up("RT", device, irp);
            if (irp.IoStatus.Status.IsSuccess) return STATUS_CONTINUE_COMPLETION;
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, retry!);
            IoCallDriver(middle, irp);
            Step("RT keeps it");
            return STATUS_MORE_PROCESSING_REQUIRED;
        };
        PDEVICE_OBJECT top = Named("T", middle, (_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, retry);
            return IoCallDriver(middle, irp);
        });
        IoCallDriver(top, ThreeLocations());
        Assert.Equal(
        [
            "v T CL=3",
            "v M CL=2",
            "v B CL=1",
            "^ RT(T) CL=3 pending=False STATUS_DEVICE_BUSY",
            "v M CL=2",
            "v B CL=1",
            "^ RT(T) CL=3 pending=False STATUS_SUCCESS",
            "^ R0(no device) CL=4 pending=False STATUS_SUCCESS",
            "RT keeps it",
        ], Steps);
    });

    [Fact]
    [Spec("CMP-25"), Spec("COMPLETE-FINAL-18")]
    public void A_threaded_request_whose_originator_kept_it_is_finished_without_a_visit() => Run(() =>
    {
        PDEVICE_OBJECT bottom = Named("B", default, (_, irp) => Complete(irp, STATUS_UNSUCCESSFUL));
        PKEVENT done = Event();
        PIO_STATUS_BLOCK block = StatusBlock();
        PIRP irp = IoBuildDeviceIoControlRequest(0x222003, bottom, default, 0, default, 0, false, done, block);
        OnCompletion(irp, Routine("R0", STATUS_MORE_PROCESSING_REQUIRED));
        Assert.Equal(STATUS_UNSUCCESSFUL, IoCallDriver(bottom, irp));
        Assert.Equal(2, irp.CurrentLocation);
        Assert.Equal(IO_TYPE_IRP, irp.Type);
        IoCompleteRequest(irp, IO_NO_INCREMENT);
        Assert.NotEqual(IO_TYPE_IRP, irp.Type);
        Assert.False(IsSet(done));
        Assert.Equal(Untouched, block.Status);
        Assert.Equal(["v B CL=1", "^ R0(no device) CL=2 pending=False STATUS_UNSUCCESSFUL"], Steps);
    });
}
