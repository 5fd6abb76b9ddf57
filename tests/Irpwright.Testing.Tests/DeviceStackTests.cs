using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing.Tests;

/// <summary>Goal: stacks are built, opened and taken down, or fail with a reason. Method: built-in and deliberately bad drivers.</summary>
public sealed class DeviceStackTests : IDisposable
{
    readonly Machine machine = new();

    public void Dispose() => machine.Dispose();

    [Fact]
    public void Drivers_are_stacked_bottom_up()
    {
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096), new PassThrough(), new PassThrough());

        Assert.Equal(["ramdisk", "passthrough", "passthrough2"], stack.Drivers.Select(d => d.Name));
        Assert.Equal(stack.Drivers[0].Object, stack.Bottom.DriverObject);
        Assert.Equal(stack.Drivers[2].Object, stack.Top.DriverObject);
        Assert.Equal(3, stack.Top.StackSize);
        using DeviceHandle disk = stack.Open();
        Assert.Equal(new IoResult(STATUS_SUCCESS, 16), disk.Read(new byte[16]));
    }

    [Fact]
    public void A_loaded_driver_can_take_part()
    {
        machine.Run(() => machine.Drivers.Load(new PassThrough(), "mine", out _));
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096), machine.Drivers.All[0]);

        Assert.Equal(["ramdisk", "mine"], stack.Drivers.Select(d => d.Name));
    }

    [Fact]
    public void Removal_leaves_no_driver_and_no_device()
    {
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096), new PassThrough());
        stack.Open().Dispose();

        stack.Remove();
        stack.Remove();

        Assert.Empty(machine.Drivers.All);
        Assert.DoesNotContain(@"\Device\RamDisk0", machine.Objects.Names);
    }

    [Fact]
    public void A_driver_that_does_not_load_is_named_with_its_status()
    {
        DeviceStackException e = Refused(new RamDisk(4096), new Bad { EntryStatus = STATUS_INSUFFICIENT_RESOURCES });

        Assert.Equal("The driver bad did not load: DriverEntry returned STATUS_INSUFFICIENT_RESOURCES.", e.Message);
        Assert.Equal(("bad", STATUS_INSUFFICIENT_RESOURCES), (e.Driver, e.Status));
    }

    [Fact]
    public void A_driver_that_does_not_attach_is_named_with_its_status()
    {
        DeviceStackException e = Refused(new RamDisk(4096), new Bad { AddDeviceStatus = STATUS_NO_SUCH_DEVICE });

        Assert.Equal(@"The driver bad did not attach to ramdisk (\Device\RamDisk0): AddDevice returned STATUS_NO_SUCH_DEVICE.", e.Message);
    }

    [Fact]
    public void A_driver_that_claims_to_attach_is_found_out()
    {
        DeviceStackException e = Refused(new RamDisk(4096), new Bad { AddDeviceStatus = STATUS_SUCCESS });

        Assert.EndsWith("AddDevice returned STATUS_SUCCESS without attaching a device.", e.Message);
    }

    [Fact]
    public void A_driver_without_AddDevice_cannot_be_a_filter()
    {
        DeviceStackException e = Refused(new RamDisk(4096), new RamDisk(4096, @"\Device\Other"));

        Assert.EndsWith("it has no AddDevice routine.", e.Message);
    }

    [Fact]
    public void A_lowest_driver_without_device_stands_on_the_root_bus()
    {
        DeviceStack stack = DeviceStack.Build(machine, new PassThrough());

        Assert.Equal((@"ROOT\passthrough", DeviceNodeState.DriversAdded), (stack.Node.DeviceId, stack.Node.State));
        Assert.Equal(2, stack.Top.StackSize);
        Assert.Throws<IOException>(() => stack.Open());
        Assert.Equal(STATUS_SUCCESS, stack.Start());
        stack.Remove();
        Assert.Equal(DeviceNodeState.Deleted, stack.Node.State);
        Assert.Empty(machine.Drivers.All);
    }

    [Fact]
    public void The_lowest_driver_must_have_a_device_or_attach_to_one()
    {
        DeviceStackException e = Refused(new Idle());

        Assert.Equal("The driver idle cannot be at the bottom of a stack: its DriverEntry created no device, and it has no AddDevice routine.", e.Message);
    }

    sealed class Idle : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) => STATUS_SUCCESS;
    }

    // ---- Plug and Play

    [Fact]
    public void A_stack_is_started_stopped_and_removed()
    {
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096), new PassThrough());
        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.Started), (stack.Start(), stack.Node.State));
        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.StopPending), (stack.QueryStop(), stack.Node.State));
        stack.CancelStop();
        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.Stopped), (stack.Stop(), stack.Node.State));
        Assert.Equal(STATUS_SUCCESS, stack.Start());
        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.RemovePending), (stack.QueryRemove(), stack.Node.State));
        stack.CancelRemove();
        Assert.Equal(DeviceNodeState.Started, stack.Node.State);

        stack.Remove();

        Assert.Empty(machine.PlugAndPlay.Nodes);
        Assert.Empty(machine.Drivers.All);
    }

    [Fact]
    public void An_open_handle_keeps_a_stack_from_being_removed()
    {
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096), new PassThrough());
        stack.Start();
        DeviceHandle disk = stack.Open();

        DeviceStackException e = Assert.Throws<DeviceStackException>(stack.Remove);

        Assert.Equal(STATUS_UNSUCCESSFUL, e.Status);
        disk.Dispose();
        stack.Remove();
    }

    [Fact]
    public void A_disk_that_is_pulled_out_fails_requests_until_its_handle_is_closed()
    {
        DeviceStack stack = DeviceStack.Build(machine, new RamDisk(4096), new PassThrough());
        stack.Start();
        DeviceHandle disk = stack.Open();

        stack.SurpriseRemove();

        Assert.Equal(STATUS_DEVICE_REMOVED, disk.Read(new byte[16]).Status);
        Assert.Equal(DeviceNodeState.SurpriseRemoved, stack.Node.State);
        disk.Dispose();
        machine.PlugAndPlay.Settle();
        Assert.Equal(DeviceNodeState.Enumerated, stack.Node.State);
        stack.Remove();
        Assert.Empty(machine.Drivers.All);
    }

    [Fact]
    public void The_built_in_disks_take_part_in_sleep_and_wake()
    {
        DeviceStack.Build(machine, new RamDisk(4096), new PassThrough()).Start();
        DeviceStack.Build(machine, new ScriptedDevice()).Start();

        Assert.Equal(STATUS_SUCCESS, machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3));
        machine.Power.Wake();

        Assert.Equal(SYSTEM_POWER_STATE.PowerSystemWorking, machine.Power.State);
    }

    DeviceStackException Refused(params StackDriver[] drivers) =>
        Assert.Throws<DeviceStackException>(() => DeviceStack.Build(machine, drivers));

    sealed class Bad : WdmDriver
    {
        internal NTSTATUS EntryStatus { get; init; }

        internal NTSTATUS AddDeviceStatus { get; init; }

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
            return EntryStatus;
        }

        NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) => AddDeviceStatus;
    }
}
