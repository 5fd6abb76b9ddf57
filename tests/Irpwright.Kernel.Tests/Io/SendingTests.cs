using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class SendingTests : DriverTest
{
    [Fact]
    [Spec("CALL-01")]
    public void The_target_finds_its_own_location_current_and_its_device_in_it() => Run(() =>
    {
        PDEVICE_OBJECT target = Device((device, irp) =>
        {
            Assert.Equal(1, irp.CurrentLocation);
            Assert.Equal(Location(irp, 1), IoGetCurrentIrpStackLocation(irp));
            Assert.Equal(device, IoGetCurrentIrpStackLocation(irp).DeviceObject);
            Step("dispatch");
            return STATUS_REPARSE;
        });
        PIRP irp = Packet(target);
        Assert.Equal(STATUS_REPARSE, IoCallDriver(target, irp));
        Assert.Equal(["dispatch"], Steps);
    });

    [Fact]
    [Spec("CALL-01"), Spec("CALL-02")]
    public void Without_a_location_left_the_machine_stops_before_the_target_runs()
    {
        PIRP irp = default;
        BugCheckReport report = Stops(NO_MORE_IRP_STACK_LOCATIONS, () =>
        {
            PDEVICE_OBJECT lower = Device((_, _) =>
            {
                Step("lower");
                return STATUS_SUCCESS;
            });
            PDEVICE_OBJECT upper = Device((_, i) =>
            {
                Step("upper");
                return IoCallDriver(lower, i);
            });
            irp = Packet(upper);
            IoCallDriver(upper, irp);
        });
        Assert.Equal(irp.Address, report.Parameter1);
        Assert.Equal(["upper"], Steps);
    }

    [Fact]
    [Spec("CALL-03")]
    public void The_entry_is_chosen_by_the_major_code_of_the_location_just_entered() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, _) => STATUS_SUCCESS);
        PIRP expected = default;
        for (byte i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        {
            byte major = i;
            DRIVER_DISPATCH entry = (d, irp) =>
            {
                Assert.Equal(device, d);
                Assert.Equal(expected, irp);
                return (NTSTATUS)(0x100 + major);
            };
            DriverObject.MajorFunction[i] = Routine(entry);
        }
        for (byte i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        {
            expected = Packet(device, major: i, spareLocations: 1);
            IoSetNextIrpStackLocation(expected);
            // Only the location that is entered counts, not the caller's.
            IoGetCurrentIrpStackLocation(expected).MajorFunction = (byte)(IRP_MJ_MAXIMUM_FUNCTION - i);
            IoGetNextIrpStackLocation(expected).MajorFunction = i;
            Assert.Equal((NTSTATUS)(0x100 + i), IoCallDriver(device, expected));
            IoFreeIrp(expected);
        }
    });

    [Fact]
    public void A_major_code_beyond_the_table_stops_the_machine()
    {
        BugCheckReport report = Stops(SYSTEM_SERVICE_EXCEPTION, () =>
        {
            PDEVICE_OBJECT device = Device((_, _) => STATUS_SUCCESS);
            IoCallDriver(device, Packet(device, major: IRP_MJ_MAXIMUM_FUNCTION + 1));
        });
        Assert.Contains("major function code in its next location is 0x1C", report.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    [Spec("CALL-04")]
    public void A_request_goes_to_the_device_given_whatever_is_attached_above_it() => Run(() =>
    {
        PDEVICE_OBJECT lower = Device((_, _) =>
        {
            Step("lower");
            return STATUS_SUCCESS;
        });
        PDEVICE_OBJECT upper = Device((_, _) =>
        {
            Step("upper");
            return STATUS_SUCCESS;
        }, above: lower);
        Assert.Equal(upper, IoGetAttachedDevice(lower));
        IoCallDriver(lower, Packet(lower));
        Assert.Equal(["lower"], Steps);
    });

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(APC_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("CALL-05")]
    public void The_target_runs_in_the_callers_thread_at_the_callers_level(byte irql) => Run(() =>
    {
        KernelThread caller = Machine.CurrentThread;
        PDEVICE_OBJECT target = Device((_, _) =>
        {
            Assert.Same(caller, Machine.CurrentThread);
            Assert.Equal(irql, KeGetCurrentIrql());
            Step("dispatch");
            return STATUS_SUCCESS;
        });
        PIRP irp = Packet(target);
        KeRaiseIrql(irql, out KIRQL old);
        IoCallDriver(target, irp);
        Assert.Equal(irql, KeGetCurrentIrql());
        KeLowerIrql(old);
        Assert.Equal(["dispatch"], Steps);
    });

    [Theory]
    [InlineData(0)]
    [InlineData(STATUS_PENDING)]
    [InlineData(unchecked((NTSTATUS)0xC0FFEE00))]
    [Spec("CALL-06")]
    public void The_dispatch_status_is_returned_and_the_packet_not_touched_afterwards(NTSTATUS status) => Run(() =>
    {
        byte[] left = [];
        PIRP irp = new(Memory(IoSizeOfIrp(1)).Address);
        PDEVICE_OBJECT target = Device((_, i) =>
        {
            // As if the packet were gone and its memory somebody else's.
            Fill(i, IoSizeOfIrp(1));
            left = Bytes(i, IoSizeOfIrp(1));
            return status;
        });
        IoInitializeIrp(irp, IoSizeOfIrp(1), 1);
        Assert.Equal(status, IoCallDriver(target, irp));
        Assert.Equal(left, Bytes(irp, IoSizeOfIrp(1)));
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Spec("CALL-07")]
    public void Sending_changes_neither_status_nor_pending_nor_cancel_state_nor_flags(bool value) => Run(() =>
    {
        PDRIVER_CANCEL cancelRoutine = CancelRoutine((_, _) => { });
        PDEVICE_OBJECT target = Device((_, irp) =>
        {
            AssertAsSent(irp);
            return STATUS_SUCCESS;
        });
        PIRP irp = Packet(target);
        irp.IoStatus.Status = STATUS_NOT_SUPPORTED;
        irp.IoStatus.Information = 77;
        irp.PendingReturned = value;
        irp.Cancel = value;
        irp.CancelRoutine = cancelRoutine;
        irp.Flags = IRP_NOCACHE;
        IoCallDriver(target, irp);
        AssertAsSent(irp);

        void AssertAsSent(PIRP irp)
        {
            Assert.Equal(STATUS_NOT_SUPPORTED, irp.IoStatus.Status);
            Assert.Equal(77UL, irp.IoStatus.Information);
            Assert.Equal(value, (bool)irp.PendingReturned);
            Assert.Equal(value, (bool)irp.Cancel);
            Assert.Equal(cancelRoutine, irp.CancelRoutine);
            Assert.Equal(IRP_NOCACHE, irp.Flags);
        }
    });

    sealed class DriverWithoutEntries : WdmDriver
    {
        public PDEVICE_OBJECT Device;

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
            IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out Device);
    }

    [Fact]
    [Spec("CALL-08")]
    public void An_entry_that_was_left_unset_completes_the_request_as_invalid() => Run(() =>
    {
        var driver = new DriverWithoutEntries();
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(driver, "bare", out _));
        for (byte major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            PIRP irp = Packet(driver.Device, major);
            irp.IoStatus.Information = 77;
            OnCompletion(irp, (_, i, _) =>
            {
                Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, i.IoStatus.Status);
                Assert.Equal(77UL, i.IoStatus.Information);
                Step("completed");
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
            Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoCallDriver(driver.Device, irp));
            IoFreeIrp(irp);
        }
        Assert.Equal(IRP_MJ_MAXIMUM_FUNCTION + 1, Steps.Count);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    [Spec("CALL-09")]
    public void The_packet_is_the_senders_again_once_its_routine_kept_it(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKEVENT back = Event();
        PDEVICE_OBJECT lower = Device((_, irp) => Pend(irp, () => Complete(irp, STATUS_SUCCESS, 5)));
        PDEVICE_OBJECT upper = Device((device, irp) =>
        {
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (_, _, _) =>
            {
                KeSetEvent(back, 0, false);
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
            IoCallDriver(lower, irp);
            Wait(back);
            Assert.Equal(device, IoGetCurrentIrpStackLocation(irp).DeviceObject);
            Assert.Equal(5UL, irp.IoStatus.Information);
            return Complete(irp, STATUS_SUCCESS, 6);
        }, above: lower);
        PIRP irp = Packet(upper);
        OnCompletion(irp, Keep("originator"));
        Assert.Equal(STATUS_SUCCESS, IoCallDriver(upper, irp));
        Assert.Equal(6UL, irp.IoStatus.Information);
        Assert.Equal(["originator"], Steps);
    });

    [Fact]
    [Spec("CALL-13")]
    public void PoCallDriver_sends_as_IoCallDriver_does() => Run(() =>
    {
        PDEVICE_OBJECT target = Device((device, irp) =>
        {
            Assert.Equal(1, irp.CurrentLocation);
            Assert.Equal(device, IoGetCurrentIrpStackLocation(irp).DeviceObject);
            return Complete(irp, STATUS_DEVICE_BUSY);
        });
        PIRP irp = Packet(target, IRP_MJ_POWER);
        OnCompletion(irp, Keep("originator"));
        Assert.Equal(STATUS_DEVICE_BUSY, PoCallDriver(target, irp));
        Assert.Equal(["originator"], Steps);
    });
}
