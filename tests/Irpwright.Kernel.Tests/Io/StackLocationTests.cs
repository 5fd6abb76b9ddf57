using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class StackLocationTests : DriverTest
{
    static void AssertAgree(PIRP irp) =>
        Assert.Equal(irp.Address + 0xD0 + (ulong)(irp.CurrentLocation - 1) * 0x48, IoGetCurrentIrpStackLocation(irp).Address);

    [Fact]
    [Spec("STK-01")]
    public void The_locations_follow_the_header_the_lowest_first() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(3, false);
        Assert.Equal(0xD0, IRP.SizeOf);
        Assert.Equal(0x48, IO_STACK_LOCATION.SizeOf);
        Assert.Equal(0xD0 + 3 * 0x48, irp.Size);
        Assert.Equal(3, irp.StackCount);
        for (int n = 3; n >= 1; n--)
        {
            IoSetNextIrpStackLocation(irp);
            Assert.Equal(irp.Address + 0xD0 + (ulong)(n - 1) * 0x48, IoGetCurrentIrpStackLocation(irp).Address);
        }
    });

    [Fact]
    [Spec("STK-02")]
    public void Number_and_pointer_agree_wherever_a_driver_can_look() => Run(() =>
    {
        int looks = 0;
        void Look(PIRP irp)
        {
            AssertAgree(irp);
            looks++;
        }
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            Look(irp);
            return Complete(irp, STATUS_SUCCESS);
        });
        PDEVICE_OBJECT middle = Device((_, irp) =>
        {
            Look(irp);
            IoSkipCurrentIrpStackLocation(irp);
            Look(irp);
            return IoCallDriver(bottom, irp);
        }, above: bottom);
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            Look(irp);
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (_, i, _) =>
            {
                Look(i);
                return STATUS_CONTINUE_COMPLETION;
            });
            Look(irp);
            return IoCallDriver(middle, irp);
        }, above: middle);
        PIRP irp = Packet(top, spareLocations: 1);
        Look(irp);
        IoSetNextIrpStackLocation(irp);
        Look(irp);
        IoGetNextIrpStackLocation(irp).MajorFunction = IRP_MJ_READ;
        OnCompletion(irp, (_, i, _) =>
        {
            Look(i);
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        IoCallDriver(top, irp);
        Look(irp);
        IoReuseIrp(irp, STATUS_SUCCESS);
        Look(irp);
        Assert.Equal(11, looks);
    });

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [Spec("STK-03")]
    public void A_fresh_packet_stands_one_past_its_highest_location(sbyte stackSize) => Run(() =>
    {
        PIRP irp = IoAllocateIrp(stackSize, false);
        Assert.Equal(stackSize + 1, irp.CurrentLocation);
        Assert.Equal(irp.Address + irp.Size, irp.Tail.Overlay.CurrentStackLocation.Address);
    });

    [Fact]
    [Spec("STK-04")]
    public void Asking_for_the_current_location_returns_the_pointer_unchanged_even_outside_the_packet() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(1, false);
        byte[] before = Bytes(irp, irp.Size);
        Assert.Equal(irp.Address + irp.Size, IoGetCurrentIrpStackLocation(irp).Address);
        irp.Tail.Overlay.CurrentStackLocation = new PIO_STACK_LOCATION(0x1234);
        Assert.Equal(0x1234UL, IoGetCurrentIrpStackLocation(irp).Address);
        irp.Tail.Overlay.CurrentStackLocation = new PIO_STACK_LOCATION(irp.Address + irp.Size);
        Assert.Equal(before, Bytes(irp, irp.Size));
    });

    [Fact]
    [Spec("STK-05")]
    public void The_next_location_of_a_fresh_packet_is_the_first_drivers() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(2, false);
        byte[] before = Bytes(irp, irp.Size);
        Assert.Equal(Location(irp, 2), IoGetNextIrpStackLocation(irp));
        Assert.Equal(before, Bytes(irp, irp.Size));
    });

    [Fact]
    [Spec("STK-06")]
    public void A_skip_lets_the_lower_driver_receive_the_callers_own_location() => Run(() =>
    {
        PIO_STACK_LOCATION upper = default;
        byte[] given = [], received = [];
        PDEVICE_OBJECT lower = Device((_, irp) =>
        {
            Assert.Equal(upper, IoGetCurrentIrpStackLocation(irp));
            Assert.Equal(2, irp.CurrentLocation);
            received = Bytes(upper, IO_STACK_LOCATION.SizeOf);
            return Complete(irp, STATUS_SUCCESS);
        });
        PDEVICE_OBJECT skipping = Device((device, irp) =>
        {
            upper = IoGetCurrentIrpStackLocation(irp);
            upper.DeviceObject = lower; // what IoCallDriver stores, so that the comparison is of everything else
            given = Bytes(upper, IO_STACK_LOCATION.SizeOf);
            byte[] packet = Bytes(irp, IRP.SizeOf);
            IoSkipCurrentIrpStackLocation(irp);
            Assert.Equal(3, irp.CurrentLocation);
            Assert.Equal(upper.Address + 0x48, IoGetCurrentIrpStackLocation(irp).Address);
            irp.CurrentLocation--;
            irp.Tail.Overlay.CurrentStackLocation = upper;
            Assert.Equal(packet, Bytes(irp, IRP.SizeOf));
            IoSkipCurrentIrpStackLocation(irp);
            return IoCallDriver(lower, irp);
        }, above: lower);
        PIRP irp = Packet(skipping);
        PIO_STACK_LOCATION first = IoGetNextIrpStackLocation(irp);
        first.MinorFunction = 7;
        first.Parameters.Read.Length = 512;
        OnCompletion(irp, Keep("originator"), new PVOID(0xC0FFEE));
        IoCallDriver(skipping, irp);
        Assert.Equal(given, received);
        Assert.Equal(SL_INVOKE_ON_CANCEL | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_SUCCESS, (SL_CONTROL)received[3]);
        Assert.Equal(["originator"], Steps);
    });

    [Fact]
    [Spec("STK-07")]
    public void A_copy_takes_everything_up_to_the_file_object_and_clears_only_Control_behind_it() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(2, false);
        IoSetNextIrpStackLocation(irp);
        Fill(Location(irp, 2), 0x48);
        GuestMemory.Write(Location(irp, 1).Address, 0x48).Fill(0x11);
        byte[] current = Bytes(Location(irp, 2), 0x48);
        byte[] header = Bytes(irp, IRP.SizeOf);

        IoCopyCurrentIrpStackLocationToNext(irp);

        byte[] expected = [.. current[..0x38], .. Enumerable.Repeat((byte)0x11, 0x10)];
        expected[3] = 0;
        Assert.Equal(expected, Bytes(Location(irp, 1), 0x48));
        Assert.Equal(current, Bytes(Location(irp, 2), 0x48));
        Assert.Equal(header, Bytes(irp, IRP.SizeOf));
    });

    [Fact]
    [Spec("STK-08")]
    public void Taking_a_location_of_ones_own_moves_one_down_and_writes_nothing_else() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(2, false);
        byte[] before = Bytes(irp, irp.Size);
        IoSetNextIrpStackLocation(irp);
        Assert.Equal(2, irp.CurrentLocation);
        Assert.Equal(Location(irp, 2), IoGetCurrentIrpStackLocation(irp));
        IoSkipCurrentIrpStackLocation(irp);
        Assert.Equal(before, Bytes(irp, irp.Size));
    });

    [Fact]
    [Spec("STK-08")]
    public void Without_asking_for_the_extra_location_the_lowest_driver_runs_out()
    {
        PIRP irp = default;
        BugCheckReport report = Stops(NO_MORE_IRP_STACK_LOCATIONS, () =>
        {
            PDEVICE_OBJECT only = Device((_, i) => Complete(i, STATUS_SUCCESS));
            irp = Packet(only);
            IoSetNextIrpStackLocation(irp);
            IoCallDriver(only, irp);
        });
        Assert.Equal(irp.Address, report.Parameter1);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [Spec("STK-09")]
    public void A_built_request_has_no_location_for_its_originator(int builder) => Stops(NO_MORE_IRP_STACK_LOCATIONS, () =>
    {
        PDEVICE_OBJECT only = Device((_, i) => Complete(i, STATUS_SUCCESS));
        PIRP irp = builder switch
        {
            0 => IoBuildDeviceIoControlRequest(0, only, default, 0, default, 0, false, Event(), StatusBlock()),
            1 => IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, only, default, 0, null, Event(), StatusBlock()),
            _ => IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, only, default, 0, null, StatusBlock()),
        };
        IoSetNextIrpStackLocation(irp);
        IoCallDriver(only, irp);
    });

    [Fact]
    [Spec("STK-10")]
    public void A_registration_lies_in_the_location_of_the_driver_below() => Run(() =>
    {
        IO_COMPLETION_ROUTINE routine = Keep("upper");
        PDEVICE_OBJECT lower = Device((_, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            Assert.Equal(Location(irp, 1), own);
            Assert.Equal(Routine(routine), own.CompletionRoutine);
            Assert.Equal(0xBEEFUL, own.Context.Address);
            Assert.Equal(SL_INVOKE_ON_ERROR, own.Control);
            return Complete(irp, STATUS_UNSUCCESSFUL);
        });
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(irp);
            byte[] before = Bytes(own, 0x48);
            IoCopyCurrentIrpStackLocationToNext(irp);
            IoSetCompletionRoutine(irp, routine, new PVOID(0xBEEF), false, true, false);
            Assert.Equal(before, Bytes(own, 0x48));
            return IoCallDriver(lower, irp);
        }, above: lower);
        IoCallDriver(upper, Packet(upper));
        Assert.Equal(["upper"], Steps);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("STK-11")]
    public void A_location_that_was_left_keeps_code_device_and_registration_only(bool routineRuns) => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        PIRP irp = Packet(device, spareLocations: 1);
        IoSetNextIrpStackLocation(irp);
        Fill(Location(irp, 1), 0x48);
        Location(irp, 1).MajorFunction = IRP_MJ_READ;
        IoSetCompletionRoutine(irp, Keep("lower"), new PVOID(0x77), routineRuns, false, false);
        IoSetCompletionRoutineAbove(irp);
        IoCallDriver(device, irp);

        byte[] left = Bytes(Location(irp, 1), 0x48);
        Assert.Equal(IRP_MJ_READ, left[0x00]);
        Assert.Equal(new byte[3], left[0x01..0x04]);
        Assert.Equal(new byte[0x20], left[0x08..0x28]);
        Assert.Equal(device, Location(irp, 1).DeviceObject);
        Assert.Equal(new byte[8], left[0x30..0x38]);
        Assert.False(Location(irp, 1).CompletionRoutine.IsNull);
        Assert.Equal(0x77UL, Location(irp, 1).Context.Address);
        Assert.Equal([routineRuns ? "lower" : "upper"], Steps);
    });

    [Theory]
    [InlineData(STATUS_SUCCESS, STATUS_SUCCESS, 0U, 0U)]
    [InlineData(STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_OVERFLOW, 0x80000005U, 0U)]
    [InlineData(STATUS_DEVICE_NOT_READY, STATUS_DEVICE_NOT_READY, 0xC00000A3U, 0U)]
    [InlineData(STATUS_DEVICE_NOT_READY, STATUS_UNSUCCESSFUL, 0xC00000A3U, 0xC0000001U)]
    [InlineData(STATUS_DEVICE_NOT_READY, STATUS_SUCCESS, 0xC00000A3U, 0U)]
    [InlineData(STATUS_SUCCESS, STATUS_UNSUCCESSFUL, 0U, 0xC0000001U)]
    [Spec("STK-12")]
    public void A_failure_is_noted_in_the_location_of_the_driver_that_brought_it(NTSTATUS lower, NTSTATUS upper, uint notedInLower, uint notedInUpper) => Run(() =>
    {
        PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, lower));
        PDEVICE_OBJECT top = Filter(bottom, (_, irp, _) =>
        {
            irp.IoStatus.Status = upper;
            return STATUS_CONTINUE_COMPLETION;
        });
        PIRP irp = Packet(top);
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(top, irp);
        foreach ((int location, uint noted) in ((int, uint)[])[(1, notedInLower), (2, notedInUpper)])
        {
            Assert.Equal(noted == 0 ? 0 : SL_ERROR_RETURNED, Location(irp, location).Control);
            Assert.Equal(noted, Location(irp, location).Parameters.Others.Argument4.Address);
        }
    });

    // A registration in the originator's own location, so that the packet survives the walk.
    void IoSetCompletionRoutineAbove(PIRP irp)
    {
        Location(irp, 2).CompletionRoutine = Routine(Keep("upper"));
        Location(irp, 2).Control = SL_INVOKE_ON_SUCCESS;
    }

    [Fact]
    [Spec("STK-13")]
    public void A_drivers_parameters_are_intact_in_its_own_routine() => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, irp) =>
        {
            Assert.Equal(512U, IoGetCurrentIrpStackLocation(irp).Parameters.Read.Length);
            return Complete(irp, STATUS_SUCCESS);
        });
        PDEVICE_OBJECT upper = Device((_, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            IoGetNextIrpStackLocation(irp).Parameters.Read.Length = 512;
            OnCompletion(irp, (_, i, _) =>
            {
                PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(i);
                Assert.Equal(IRP_MJ_READ, own.MajorFunction);
                Assert.Equal(4096U, own.Parameters.Read.Length);
                Assert.Equal(77L, own.Parameters.Read.ByteOffset);
                Step("upper");
                return STATUS_CONTINUE_COMPLETION;
            });
            return IoCallDriver(lower, irp);
        }, above: lower);
        PIRP irp = Packet(upper);
        IoGetNextIrpStackLocation(irp).Parameters.Read.Length = 4096;
        IoGetNextIrpStackLocation(irp).Parameters.Read.ByteOffset = 77;
        OnCompletion(irp, Keep("originator"));
        IoCallDriver(upper, irp);
        Assert.Equal(["upper", "originator"], Steps);
    });
}
