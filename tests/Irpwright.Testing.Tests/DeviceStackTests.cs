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
    public void The_lowest_driver_must_have_a_device()
    {
        DeviceStackException e = Refused(new PassThrough());

        Assert.Equal("The driver passthrough cannot be at the bottom of a stack: its DriverEntry created no device.", e.Message);
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
