using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

public class DeviceTests : DriverTest
{
    NTSTATUS Create(uint extensionSize, string? name, DEVICE_CHARACTERISTICS characteristics, bool exclusive, out PDEVICE_OBJECT device) =>
        IoCreateDevice(DriverObject, extensionSize, name is null ? default : RTL_CONSTANT_STRING(name), FILE_DEVICE_UNKNOWN, characteristics, exclusive, out device);

    PDEVICE_OBJECT New(PDEVICE_OBJECT above = default, string? name = null) => Device((_, irp) => Complete(irp, STATUS_SUCCESS), above, name: name);

    List<PDEVICE_OBJECT> DriversDevices()
    {
        List<PDEVICE_OBJECT> devices = [];
        for (PDEVICE_OBJECT device = DriverObject.DeviceObject; !device.IsNull; device = device.NextDevice) devices.Add(device);
        return devices;
    }

    [Theory]
    [InlineData(0, null, false, 0x80)]
    [InlineData(0x24, null, true, 0x88)]
    [InlineData(0x24, @"\Device\New", false, 0xC0)]
    [InlineData(0x1000, @"\Device\New", true, 0xC8)]
    [Spec("DEV-01")]
    public void A_new_device_has_a_zeroed_extension_and_these_fields(uint extensionSize, string? name, bool exclusive, uint flags) => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, Create(extensionSize, name, FILE_REMOVABLE_MEDIA, exclusive, out PDEVICE_OBJECT device));
        Assert.Equal(3, device.Type);
        Assert.Equal(0x150 + extensionSize, device.Size);
        Assert.Equal(1, device.StackSize);
        Assert.Equal(0, device.ReferenceCount);
        Assert.Equal(extensionSize == 0 ? 0 : device.Address + 0x150, device.DeviceExtension.Address);
        Assert.Equal(FILE_DEVICE_UNKNOWN, device.DeviceType);
        Assert.Equal(FILE_REMOVABLE_MEDIA, device.Characteristics);
        Assert.Equal((DO_FLAGS)flags, device.Flags);
        Assert.Equal(DriverObject, device.DriverObject);
        Assert.True(device.AttachedDevice.IsNull);
        Assert.True(device.CurrentIrp.IsNull);
        Assert.Equal(new byte[extensionSize], Bytes(new PVOID(device.Address + 0x150), (int)extensionSize));
    });

    [Fact]
    [Spec("DEV-02")]
    public void New_devices_come_first_in_the_drivers_list() => Run(() =>
    {
        PDEVICE_OBJECT[] created = [New(), New(), New()];
        Assert.Equal(created.Reverse(), DriversDevices());
    });

    [Theory]
    [InlineData(@"\Device\Taken")]
    [InlineData(@"\device\TAKEN")]
    [Spec("DEV-03")]
    public void A_name_that_is_taken_is_refused(string again) => Run(() =>
    {
        New(name: @"\Device\Taken");
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, Create(0, again, 0, false, out PDEVICE_OBJECT device));
        Assert.True(device.IsNull);
        Assert.Single(DriversDevices());
    });

    [Fact]
    [Spec("DEV-04")]
    public void A_new_device_asks_for_no_alignment() => Run(() =>
    {
        Create(0, null, 0, false, out PDEVICE_OBJECT device);
        Assert.Equal(0U, device.AlignmentRequirement);
    });

    sealed class DriverWithDevice(NTSTATUS result) : WdmDriver
    {
        public PDEVICE_OBJECT FromEntry, FromAddDevice;

        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out FromEntry);
            Assert.NotEqual((DO_FLAGS)0, FromEntry.Flags & DO_DEVICE_INITIALIZING);
            DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
            return result;
        }

        NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
            IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out FromAddDevice);
    }

    [Fact]
    [Spec("DEV-05")]
    public void Devices_of_DriverEntry_become_ready_those_of_AddDevice_do_not() => Run(() =>
    {
        var driver = new DriverWithDevice(STATUS_SUCCESS);
        Machine.Drivers.Load(driver, "other", out Driver? loaded);
        Assert.Equal((DO_FLAGS)0, driver.FromEntry.Flags & DO_DEVICE_INITIALIZING);
        Assert.Equal(STATUS_SUCCESS, Machine.Drivers.AddDevice(loaded!, New()));
        Assert.NotEqual((DO_FLAGS)0, driver.FromAddDevice.Flags & DO_DEVICE_INITIALIZING);
    });

    [Fact]
    public void A_driver_whose_DriverEntry_fails_is_not_loaded() => Run(() =>
    {
        int before = Machine.Drivers.All.Count;
        Assert.Equal(STATUS_UNSUCCESSFUL, Machine.Drivers.Load(new DriverWithDevice(STATUS_UNSUCCESSFUL), "other", out Driver? loaded));
        Assert.Null(loaded);
        Assert.Equal(before, Machine.Drivers.All.Count);
    });

    [Fact]
    [Spec("DEV-06"), Spec("DEV-08")]
    public void Attaching_goes_on_top_and_takes_over_alignment_and_depth_but_no_flags() => Run(() =>
    {
        PDEVICE_OBJECT bottom = New();
        PDEVICE_OBJECT middle = New(above: bottom);
        middle.AlignmentRequirement = 0x1FF;
        middle.SectorSize = 4096;
        middle.Flags |= DO_BUFFERED_IO | DO_POWER_PAGABLE;
        middle.StackSize = 5;
        Create(0, null, 0, false, out PDEVICE_OBJECT top);
        DO_FLAGS flags = top.Flags;
        top.DeviceType = FILE_DEVICE_DISK;

        Assert.Equal(middle, IoAttachDeviceToDeviceStack(top, bottom)); // not the target, but what was on top of it

        Assert.Equal(top, middle.AttachedDevice);
        Assert.Equal(middle, bottom.AttachedDevice);
        Assert.Equal(6, top.StackSize);
        Assert.Equal(0x1FFU, top.AlignmentRequirement);
        Assert.Equal(4096, top.SectorSize);
        Assert.Equal(flags, top.Flags);
        Assert.Equal(FILE_DEVICE_DISK, top.DeviceType);
    });

    [Theory]
    [InlineData(DO_DEVICE_INITIALIZING, (DOE_FLAGS)0)]
    [InlineData((DO_FLAGS)0, DOE_UNLOAD_PENDING)]
    [InlineData((DO_FLAGS)0, DOE_DELETE_PENDING)]
    [InlineData((DO_FLAGS)0, DOE_REMOVE_PENDING)]
    [Spec("DEV-07")]
    public void Attaching_to_a_top_that_is_not_ready_or_going_away_changes_nothing(DO_FLAGS flags, DOE_FLAGS extensionFlags) => Run(() =>
    {
        PDEVICE_OBJECT bottom = New();
        PDEVICE_OBJECT top = New(above: bottom);
        top.Flags |= flags;
        top.DeviceObjectExtension.ExtensionFlags |= extensionFlags;
        PDEVICE_OBJECT source = New();
        byte[] before = Bytes(source, DEVICE_OBJECT.SizeOf);
        Assert.True(IoAttachDeviceToDeviceStack(source, bottom).IsNull);
        Assert.True(top.AttachedDevice.IsNull);
        Assert.Equal(before, Bytes(source, DEVICE_OBJECT.SizeOf));
        PDEVICE_OBJECT lower = default;
        Assert.Equal(STATUS_NO_SUCH_DEVICE, IoAttachDeviceToDeviceStackSafe(source, bottom, ref lower));
        Assert.True(lower.IsNull);
    });

    [Fact]
    [Spec("DEV-09")]
    public void Attaching_safely_stores_the_lower_device() => Run(() =>
    {
        PDEVICE_OBJECT bottom = New();
        PDEVICE_OBJECT source = New();
        PDEVICE_OBJECT lower = default;
        Assert.Equal(STATUS_SUCCESS, IoAttachDeviceToDeviceStackSafe(source, bottom, ref lower));
        Assert.Equal(bottom, lower);
        Assert.Equal(source, bottom.AttachedDevice);
        Assert.Equal(2, source.StackSize);
    });

    [Fact]
    [Spec("DEV-10")]
    public void Detaching_takes_the_upper_device_off_and_recomputes_nothing() => Run(() =>
    {
        PDEVICE_OBJECT bottom = New();
        PDEVICE_OBJECT top = New(above: bottom);
        IoDetachDevice(bottom);
        Assert.True(bottom.AttachedDevice.IsNull);
        Assert.Equal(2, top.StackSize);
        Assert.Equal(bottom, IoGetAttachedDevice(bottom));
    });

    [Fact]
    [Spec("DEV-11")]
    public void The_top_is_found_from_anywhere_in_the_stack_and_can_be_referenced() => Run(() =>
    {
        PDEVICE_OBJECT bottom = New();
        Assert.Equal(bottom, IoGetAttachedDevice(bottom));
        PDEVICE_OBJECT middle = New(above: bottom), top = New(above: middle);
        Assert.Equal(top, IoGetAttachedDevice(bottom));
        Assert.Equal(top, IoGetAttachedDevice(middle));
        Assert.Equal(top, IoGetAttachedDevice(top));

        Assert.Equal(middle, IoGetLowerDeviceObject(top));
        Assert.True(IoGetLowerDeviceObject(bottom).IsNull);
        Assert.Equal(1, (long)ObfReferenceObject(middle) - ObfDereferenceObject(middle));
        ObfDereferenceObject(middle);
        Assert.Equal(top, IoGetAttachedDeviceReference(bottom));
        IoDetachDevice(middle);
        IoDeleteDevice(top);
        Assert.DoesNotContain(top, DriversDevices());
        Assert.Equal(3, top.Type); // the reference keeps the memory
        Assert.Equal(0, (long)ObfDereferenceObject(top));
    });

    public class Deleting : DriverTest
    {
        PDEVICE_OBJECT New(PDEVICE_OBJECT above = default, string? name = null) => Device((_, irp) => Complete(irp, STATUS_SUCCESS), above, name: name);

        bool IsListed(PDEVICE_OBJECT wanted)
        {
            for (PDEVICE_OBJECT device = DriverObject.DeviceObject; !device.IsNull; device = device.NextDevice)
            {
                if (device == wanted) return true;
            }
            return false;
        }

        [Theory]
        [InlineData(0)]
        [InlineData(1)]
        [InlineData(2)]
        [Spec("DEV-12")]
        public void An_unused_device_takes_it_out_of_the_list_at_once(int which) => Run(() =>
        {
            PDEVICE_OBJECT[] devices = [New(), New(), New()];
            IoDeleteDevice(devices[which]);
            Assert.Equal(Enumerable.Range(0, 3).Where(i => i != which), Enumerable.Range(0, 3).Where(i => IsListed(devices[i])));
        });

        [Fact]
        [Spec("DEV-12")]
        public void Waits_for_the_last_handle() => Run(() =>
        {
            PDEVICE_OBJECT device = New(name: @"\Device\Held");
            DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Held");
            IoDeleteDevice(device);
            Assert.True(IsListed(device));
            Assert.Equal(STATUS_SUCCESS, handle.Flush().Status); // which still works
            Assert.False(DeviceHandle.TryOpen(Machine, @"\Device\Held", out _).IsSuccess);
            handle.Dispose();
            Assert.False(IsListed(device));
        });

        [Fact]
        [Spec("DEV-12")]
        public void Waits_for_the_device_above_to_detach() => Run(() =>
        {
            PDEVICE_OBJECT bottom = New();
            PDEVICE_OBJECT top = New(above: bottom);
            IoDeleteDevice(bottom);
            Assert.True(IsListed(bottom));
            IoDetachDevice(bottom);
            Assert.False(IsListed(bottom));
            IoDeleteDevice(top);
            Assert.False(IsListed(top));
        });

        [Fact]
        [Spec("DEV-12")]
        public void A_device_frees_its_name() => Run(() =>
        {
            IoDeleteDevice(New(name: @"\Device\Again"));
            New(name: @"\Device\Again");
        });

        [Fact]
        [Spec("DEV-12")]
        public void A_second_time_stops_the_machine()
        {
            PDEVICE_OBJECT device = default;
            BugCheckReport report = Stops(DRIVER_VERIFIER_IOMANAGER_VIOLATION, () =>
            {
                device = New(name: @"\Device\Held");
                using DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Held");
                IoDeleteDevice(device);
                IoDeleteDevice(device);
            });
            Assert.Equal(0x240UL, report.Parameter1);
            Assert.Equal(device.Address, report.Parameter3);
        }

        [Fact]
        [Spec("DEV-12")]
        public void While_attached_to_a_lower_device_stops_the_machine() => Assert.Equal(0x201UL, Stops(DRIVER_VERIFIER_IOMANAGER_VIOLATION, () =>
        {
            PDEVICE_OBJECT bottom = New();
            IoDeleteDevice(New(above: bottom));
        }).Parameter1);
    }

    [Fact]
    [Spec("DEV-13")]
    public void Requests_made_after_an_attachment_have_one_more_location_those_in_flight_do_not() => Run(() =>
    {
        PIRP held = default;
        PDEVICE_OBJECT bottom = Device((_, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MajorFunction != IRP_MJ_DEVICE_CONTROL) return Complete(irp, STATUS_SUCCESS);
            Step($"{irp.StackCount}");
            held = irp;
            IoMarkIrpPending(irp);
            return STATUS_PENDING;
        }, name: @"\Device\Growing");
        using DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Growing");
        IoOperation first = handle.StartControl(0x222003);
        PIRP firstPacket = held;
        Device((_, irp) =>
        {
            IoSkipCurrentIrpStackLocation(irp);
            return IoCallDriver(bottom, irp);
        }, above: bottom);
        IoOperation second = handle.StartControl(0x222003);
        Assert.Equal(["1", "2"], Steps);
        Assert.Equal(1, firstPacket.StackCount);
        Complete(firstPacket, STATUS_SUCCESS);
        Complete(held, STATUS_SUCCESS);
        Assert.Equal(STATUS_SUCCESS, first.Wait().Status);
        Assert.Equal(STATUS_SUCCESS, second.Wait().Status);
    });

    [Theory]
    [InlineData(7, true)]
    [InlineData(2, true)]
    [InlineData(1, false)]
    [Spec("DEV-14")]
    public void A_stack_size_above_the_depth_is_harmless_and_below_it_runs_out(sbyte stackSize, bool works)
    {
        void Scenario()
        {
            PDEVICE_OBJECT bottom = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
            // Sends to the other device without being attached to it, so it has to say how deep it goes.
            PDEVICE_OBJECT top = Device((_, irp) => IoGetCurrentIrpStackLocation(irp).MajorFunction == IRP_MJ_FLUSH_BUFFERS ? Forward(irp) : Complete(irp, STATUS_SUCCESS), name: @"\Device\Deep");
            NTSTATUS Forward(PIRP irp)
            {
                byte major = IoGetCurrentIrpStackLocation(irp).MajorFunction;
                if (irp.CurrentLocation > 1) IoGetNextIrpStackLocation(irp).MajorFunction = major;
                return IoCallDriver(bottom, irp);
            }
            top.StackSize = stackSize;
            using DeviceHandle handle = DeviceHandle.Open(Machine, @"\Device\Deep");
            Assert.Equal(STATUS_SUCCESS, handle.Flush().Status);
        }
        if (works) Run(Scenario);
        else Stops(NO_MORE_IRP_STACK_LOCATIONS, Scenario);
    }

    [Fact]
    [Spec("DEV-15")]
    public void A_device_is_found_by_name_with_the_top_of_its_stack_and_a_file_object_that_keeps_it_open() => Run(() =>
    {
        PDEVICE_OBJECT bottom = New(name: @"\Device\Named");
        PDEVICE_OBJECT top = Device((_, irp) =>
        {
            Step($"0x{IoGetCurrentIrpStackLocation(irp).MajorFunction:X}");
            return Complete(irp, STATUS_SUCCESS);
        }, above: bottom);
        Assert.Equal(STATUS_SUCCESS, IoGetDeviceObjectPointer(RTL_CONSTANT_STRING(@"\Device\Named"), FILE_READ_DATA, out PFILE_OBJECT file, out PDEVICE_OBJECT found));
        Assert.Equal(top, found);
        Assert.Equal(bottom, file.DeviceObject);
        Assert.Equal(1, bottom.ReferenceCount);
        Assert.Equal(["0x0", "0x12"], Steps); // create, and cleanup of the handle that is closed at once
        ObDereferenceObject(file);
        Assert.Equal(["0x0", "0x12", "0x2"], Steps);
        Assert.Equal(0, bottom.ReferenceCount);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoGetDeviceObjectPointer(RTL_CONSTANT_STRING(@"\Device\Nobody"), FILE_READ_DATA, out _, out _));
    });

    public class Symbolic_links : DriverTest
    {
        void Link(string link, string target, NTSTATUS expected = STATUS_SUCCESS) =>
            Assert.Equal(expected, IoCreateSymbolicLink(RTL_CONSTANT_STRING(link), RTL_CONSTANT_STRING(target)));

        void Target() => Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Target");

        NTSTATUS Open(string name)
        {
            NTSTATUS status = DeviceHandle.TryOpen(Machine, name, out DeviceHandle? handle);
            handle?.Dispose();
            return status;
        }

        [Theory]
        [InlineData(@"\??\Link")]
        [InlineData(@"\DosDevices\Link")]
        [InlineData(@"\GLOBAL??\Link")]
        [InlineData(@"\DosDevices\Global\Link")]
        public void Are_one_directory_under_several_names(string created) => Run(() =>
        {
            Target();
            Link(created, @"\Device\Target");
            foreach (string name in (string[])[@"\\.\Link", @"\\?\Link", @"\??\LINK", @"\DosDevices\link", @"\GLOBAL??\Link"]) Assert.Equal(STATUS_SUCCESS, Open(name));
            Assert.Equal(STATUS_SUCCESS, IoDeleteSymbolicLink(RTL_CONSTANT_STRING(@"\??\Link")));
            Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(@"\\.\Link"));
            Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoDeleteSymbolicLink(RTL_CONSTANT_STRING(created)));
        });

        [Fact]
        public void Collide_with_links_and_with_devices() => Run(() =>
        {
            Target();
            Link(@"\??\Link", @"\Device\Target");
            Link(@"\DosDevices\LINK", @"\Device\Other", STATUS_OBJECT_NAME_COLLISION);
            Link(@"\Device\Target", @"\Device\Other", STATUS_OBJECT_NAME_COLLISION);
        });

        [Fact]
        public void Lead_through_other_links_and_keep_what_follows() => Run(() =>
        {
            Target();
            Link(@"\??\First", @"\??\Second");
            Link(@"\??\Second", @"\Device\Target");
            Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\\.\First\sub\name", GENERIC_READ, 0, KernelMode, out PFILE_OBJECT file));
            Assert.Equal(@"\sub\name", System.Text.Encoding.Unicode.GetString(Bytes(file.FileName.Buffer, file.FileName.Length)));
            Machine.Files.Close(file);
        });

        [Fact]
        public void Without_protection_are_links_all_the_same() => Run(() =>
        {
            Target();
            Assert.Equal(STATUS_SUCCESS, IoCreateUnprotectedSymbolicLink(RTL_CONSTANT_STRING(@"\??\Open"), RTL_CONSTANT_STRING(@"\Device\Target")));
            Assert.Equal(STATUS_SUCCESS, Open(@"\\.\Open"));
            Assert.Equal(STATUS_SUCCESS, IoDeleteSymbolicLink(RTL_CONSTANT_STRING(@"\??\Open")));
            Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(@"\\.\Open"));
        });

        [Fact]
        public void That_lead_in_a_circle_or_nowhere_are_not_found() => Run(() =>
        {
            Link(@"\??\A", @"\??\B");
            Link(@"\??\B", @"\??\A");
            Link(@"\??\Dangling", @"\Device\Nobody");
            Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(@"\\.\A"));
            Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(@"\\.\Dangling"));
        });
    }

    [Fact]
    public void A_device_is_opened_or_not_there_while_it_is_deleted() => Run(Scheduling.FreeRunning, () =>
    {
        const string name = @"\Device\Fleeting";
        bool isOver = false;
        int opened = 0;
        PKEVENT ended = Event();
        Start(() =>
        {
            while (!Volatile.Read(ref isOver))
            {
                NTSTATUS status = Machine.Files.Open(name, GENERIC_READ, 0, KernelMode, out PFILE_OBJECT file);
                if (status >= 0)
                {
                    opened++;
                    Machine.Files.Close(file);
                    continue;
                }
                Assert.True(status is STATUS_OBJECT_NAME_NOT_FOUND or STATUS_NO_SUCH_DEVICE, status.Name);
            }
            KeSetEvent(ended, 0, false);
        });
        DRIVER_DISPATCH succeed = (_, irp) => Complete(irp, STATUS_SUCCESS);
        for (int i = 0; i < 10_000; i++)
        {
            PDEVICE_OBJECT device = Device(succeed, name: name);
            Thread.SpinWait(i % 100);
            IoDeleteDevice(device);
        }
        Volatile.Write(ref isOver, true);
        Wait(ended);
    });
}
