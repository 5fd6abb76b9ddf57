using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class IrqlTests : DriverTest
{
    [Fact]
    [Spec("IRQL-01")]
    public void Levels_have_the_values_of_x64_and_the_current_one_is_one_cell() => Run(() =>
    {
        Assert.Equal(0, PASSIVE_LEVEL);
        Assert.Equal(1, APC_LEVEL);
        Assert.Equal(2, DISPATCH_LEVEL);
        for (byte irql = 0; irql <= 12; irql++)
        {
            KeRaiseIrql(irql, out KIRQL old);
            Assert.Equal(irql, KeGetCurrentIrql());
            Assert.Equal(irql, CurrentCell());
            KeLowerIrql(old);
        }
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    // What mov from cr8 reads.
    unsafe byte CurrentCell() => *Machine.CurrentThread.IrqlCell;

    [Fact]
    [Spec("IRQL-01")]
    public void Each_thread_has_a_level_of_its_own() => Run(() =>
    {
        PKEVENT done = Event();
        KeRaiseIrql(APC_LEVEL, out KIRQL old);
        Start(() =>
        {
            Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(old);
    });

    [Fact]
    public void Raising_below_the_current_level_stops_the_machine() => Stops(IRQL_NOT_GREATER_OR_EQUAL, () =>
    {
        KeRaiseIrql(DISPATCH_LEVEL, out _);
        KeRaiseIrql(APC_LEVEL, out _);
    });

    [Fact]
    public void Lowering_above_the_current_level_stops_the_machine() => Stops(IRQL_NOT_LESS_OR_EQUAL, () => KeLowerIrql(DISPATCH_LEVEL));

    sealed class LevelDriver(List<(string Routine, byte Irql)> levels) : WdmDriver
    {
        PDEVICE_OBJECT device;

        void Note(string routine) => levels.Add((routine, KeGetCurrentIrql()));

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            Note("DriverEntry");
            DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
            DriverObject.DriverUnload = Routine(Unload);
            for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject.MajorFunction[i] = Routine(Dispatch);
            NTSTATUS status = IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Levels"), FILE_DEVICE_UNKNOWN, 0, false, out device);
            device.Flags |= DO_BUFFERED_IO;
            return status;
        }

        NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
        {
            Note("AddDevice");
            return STATUS_SUCCESS;
        }

        NTSTATUS Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            byte major = IoGetCurrentIrpStackLocation(Irp).MajorFunction;
            Note($"dispatch 0x{major:X}");
            if (major != IRP_MJ_READ)
            {
                Irp.IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_SUCCESS;
            }
            IoMarkIrpPending(Irp);
            IoSetCancelRoutine(Irp, (_, cancelled) =>
            {
                Note("cancel");
                IoReleaseCancelSpinLock(cancelled.CancelIrql);
                Note("cancel, lock released");
                cancelled.IoStatus.Status = STATUS_CANCELLED;
                IoCompleteRequest(cancelled, IO_NO_INCREMENT);
            });
            return STATUS_PENDING;
        }

        void Unload(PDRIVER_OBJECT DriverObject)
        {
            Note("Unload");
            IoDeleteDevice(device);
        }
    }

    [Fact]
    [Spec("IRQL-02")]
    public void Driver_routines_are_called_at_their_documented_levels() => Run(() =>
    {
        List<(string Routine, byte Irql)> levels = [];
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.Load(new LevelDriver(levels), "levels", out Driver? driver));
        Machine.Drivers.AddDevice(driver!, Device((_, irp) => Complete(irp, STATUS_SUCCESS)));
        using (DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Levels"))
        {
            IoOperation read = handle.StartRead(new byte[1]);
            read.Cancel();
            read.Wait();
            handle.Control(0x222000);
        }
        Machine.Drivers.Unload(driver!);
        Assert.Equal(
        [
            ("DriverEntry", PASSIVE_LEVEL),
            ("AddDevice", PASSIVE_LEVEL),
            ("dispatch 0x0", PASSIVE_LEVEL),
            ("dispatch 0x3", PASSIVE_LEVEL),
            ("cancel", DISPATCH_LEVEL),
            ("cancel, lock released", PASSIVE_LEVEL),
            ("dispatch 0xE", PASSIVE_LEVEL),
            ("dispatch 0x12", PASSIVE_LEVEL),
            ("dispatch 0x2", PASSIVE_LEVEL),
            ("Unload", PASSIVE_LEVEL),
        ], levels);
    });

    [Theory]
    [InlineData("IofCallDriver", 0, 2)]
    [InlineData("IofCompleteRequest", 0, 2)]
    [InlineData("IoAllocateIrp", 0, 2)]
    [InlineData("IoFreeIrp", 0, 2)]
    [InlineData("IoReuseIrp", 0, 2)]
    [InlineData("IoCancelIrp", 0, 2)]
    [InlineData("IoAttachDeviceToDeviceStack", 0, 2)]
    [InlineData("IoAcquireRemoveLockEx", 0, 2)]
    [InlineData("IoReleaseRemoveLockEx", 0, 2)]
    [InlineData("IoBuildDeviceIoControlRequest", 0, 1)]
    [InlineData("IoBuildAsynchronousFsdRequest", 0, 1)]
    [InlineData("IoBuildSynchronousFsdRequest", 0, 1)]
    [InlineData("IoForwardIrpSynchronously", 0, 1)]
    [InlineData("IoCreateDevice", 0, 1)]
    [InlineData("IoDeleteDevice", 0, 1)]
    [InlineData("IoReleaseRemoveLockAndWaitEx", 0, 0)]
    [InlineData("IoDetachDevice", 0, 0)]
    [InlineData("IoStartNextPacket", 2, 2)]
    [InlineData("KeInsertDeviceQueue", 2, 2)]
    [InlineData("KeRemoveDeviceQueue", 2, 2)]
    [InlineData("KeRemoveByKeyDeviceQueue", 2, 2)]
    [Spec("IRQL-03")]
    public void Kernel_routines_declare_the_levels_their_pages_allow(string name, byte lowest, byte highest)
    {
        if (KernelExports.Find(name) is not { } export)
        {
            Assert.Skip($"{name} is not implemented yet.");
            return;
        }
        Assert.Equal(lowest, export.MinIrql);
        Assert.Equal(highest, export.MaxIrql);
    }

    [Fact]
    [Spec("IRQL-03")]
    public void Marking_pending_and_looking_at_locations_is_possible_at_any_level() => Run(() =>
    {
        PIRP irp = IoAllocateIrp(2, false);
        KeRaiseIrql(12, out KIRQL old);
        IoSetNextIrpStackLocation(irp);
        IoMarkIrpPending(irp);
        Assert.Equal(Location(irp, 2), IoGetCurrentIrpStackLocation(irp));
        IoSkipCurrentIrpStackLocation(irp);
        Assert.Equal(Location(irp, 2), IoGetNextIrpStackLocation(irp));
        KeLowerIrql(old);
    });

    [Theory]
    [InlineData(PASSIVE_LEVEL)]
    [InlineData(APC_LEVEL)]
    [InlineData(DISPATCH_LEVEL)]
    [Spec("IRQL-04")]
    public void A_spin_lock_raises_to_DISPATCH_LEVEL_and_gives_the_level_back(byte irql) => Run(() =>
    {
        var spinLock = new PKSPIN_LOCK(Memory(8).Address);
        KeInitializeSpinLock(spinLock);
        KeRaiseIrql(irql, out KIRQL passive);
        KeAcquireSpinLock(spinLock, out KIRQL old);
        Assert.Equal(irql, old);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        Assert.False(KeTestSpinLock(spinLock));
        KeReleaseSpinLock(spinLock, old);
        Assert.Equal(irql, KeGetCurrentIrql());
        Assert.True(KeTestSpinLock(spinLock));
        KeLowerIrql(passive);
    });
}
