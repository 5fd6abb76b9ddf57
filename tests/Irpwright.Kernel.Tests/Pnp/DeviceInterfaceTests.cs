using System.Runtime.InteropServices;
using System.Text;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

/// <summary>Goal: interfaces, notifications and properties of devices. Method: the test registers and is told.</summary>
public sealed class DeviceInterfaceTests : PnpTest
{
    static readonly Guid DiskLike = new("11111111-2222-3333-4444-555555555555");
    static readonly Guid Volume = new("66666666-7777-8888-9999-aaaaaaaaaaaa");

    PUNICODE_STRING NewString() => new(Memory(UNICODE_STRING.SizeOf).Address);

    PUNICODE_STRING Register(DeviceNode node, Guid interfaceClass, NTSTATUS expected = STATUS_SUCCESS, string? reference = null)
    {
        PUNICODE_STRING name = NewString();
        Assert.Equal(expected, IoRegisterDeviceInterface(node.PhysicalDevice, interfaceClass, reference is null ? default : RTL_CONSTANT_STRING(reference), name));
        return name;
    }

    NTSTATUS Open(string name)
    {
        NTSTATUS status = Machine.Files.Open(name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file);
        if (status >= 0) Machine.Files.Close(file);
        return status;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_enabled_interface_opens_the_device(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        PUNICODE_STRING name = Register(node, DiskLike);
        string link = Strings.Read(name);
        Assert.Equal(@"\??\ROOT#SAMPLE#0000#{11111111-2222-3333-4444-555555555555}", link);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(link));

        Assert.Equal(STATUS_SUCCESS, IoSetDeviceInterfaceState(name, true));
        Assert.Equal(STATUS_OBJECT_NAME_EXISTS, IoSetDeviceInterfaceState(name, true));
        Assert.Equal(STATUS_SUCCESS, Open(link));
        Assert.Equal(STATUS_SUCCESS, IoSetDeviceInterfaceState(name, false));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoSetDeviceInterfaceState(name, false));

        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(link));
        Register(node, DiskLike, STATUS_OBJECT_NAME_EXISTS);
        RtlFreeUnicodeString(name);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_interface_is_visible_once_the_device_has_started(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Report();
        PUNICODE_STRING name = Register(node, DiskLike);
        Assert.Equal(STATUS_SUCCESS, IoSetDeviceInterfaceState(name, true));
        Assert.Empty(Machine.DeviceInterfaces.Enabled(DiskLike));

        Pnp.Start(node);
        Assert.Equal([Strings.Read(name)], Machine.DeviceInterfaces.Enabled(DiskLike));

        Pnp.Remove(node);
        Assert.Empty(Machine.DeviceInterfaces.Enabled(DiskLike));
    });

    [Fact]
    public void An_interface_has_a_key_of_its_own_in_the_registry() => Run(() =>
    {
        DeviceNode node = Started();
        PUNICODE_STRING link = Register(node, DiskLike);
        Assert.Equal(STATUS_SUCCESS, IoOpenDeviceInterfaceRegistryKey(link, KEY_ALL_ACCESS, out HANDLE key));
        PVOID data = Memory(4);
        Assert.Equal(STATUS_SUCCESS, ZwSetValueKey(key, RTL_CONSTANT_STRING("v"), 0, REG_DWORD, data, 4));
        ZwClose(key);
        string device = Strings.Read(link).Replace('\\', '#');
        Assert.NotNull(Machine.Registry.Find($@"\Registry\Machine\System\CurrentControlSet\Control\DeviceClasses\{{{DiskLike}}}\{device}\#\Device Parameters")!.Value("v"));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoOpenDeviceInterfaceRegistryKey(RTL_CONSTANT_STRING(@"\??\ROOT#NONE"), KEY_READ, out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoOpenDeviceInterfaceRegistryKey(RTL_CONSTANT_STRING("none"), KEY_READ, out _));
    });

    [Fact]
    public void A_reference_string_becomes_the_file_name() => Run(() =>
    {
        List<string> opened = [];
        Other = (_, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MajorFunction == IRP_MJ_CREATE) opened.Add(Strings.Read(PUNICODE_STRING.To(ref location.FileObject.FileName)));
            return Complete(irp, STATUS_SUCCESS);
        };
        DeviceNode node = Started();
        PUNICODE_STRING name = Register(node, DiskLike, reference: "part");
        Assert.EndsWith(@"}\part", Strings.Read(name), StringComparison.Ordinal);
        Assert.Equal(STATUS_SUCCESS, IoSetDeviceInterfaceState(name, true));

        Assert.Equal(STATUS_SUCCESS, Open(Strings.Read(name)));

        Assert.Equal([@"\part"], opened);
    });

    [Fact]
    public void Nonsense_is_refused() => Run(() =>
    {
        DeviceNode node = Started();
        PUNICODE_STRING name = NewString();
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoRegisterDeviceInterface(node.PhysicalDevice.AttachedDevice, DiskLike, default, name));
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoRegisterDeviceInterface(node.PhysicalDevice, DiskLike, RTL_CONSTANT_STRING(@"a\b"), name));
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoGetDeviceInterfaces(DiskLike, node.PhysicalDevice.AttachedDevice, 0, out _));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoSetDeviceInterfaceState(RTL_CONSTANT_STRING(@"\??\nothing"), true));
        Assert.Equal(STATUS_OBJECT_PATH_NOT_FOUND, IoGetDeviceInterfaceAlias(RTL_CONSTANT_STRING(@"\??\nothing"), Volume, name));
    });

    [Fact]
    public void Interfaces_of_a_class_are_listed() => Run(() =>
    {
        DeviceNode first = Started(), second = Started();
        PUNICODE_STRING enabled = Register(first, DiskLike), disabled = Register(second, DiskLike);
        IoSetDeviceInterfaceState(enabled, true);

        string[] List(PDEVICE_OBJECT device, uint flags)
        {
            Assert.Equal(STATUS_SUCCESS, IoGetDeviceInterfaces(DiskLike, device, flags, out PWSTR list));
            Assert.True(Machine.Pool.TryFind(list.Address, out PoolBlock block));
            string text = Encoding.Unicode.GetString(Bytes(list, (int)block.Size));
            Free(list);
            Assert.EndsWith("\0", text, StringComparison.Ordinal);
            return text[..^1].Split('\0', StringSplitOptions.RemoveEmptyEntries);
        }

        Assert.Equal([Strings.Read(enabled)], List(default, 0));
        Assert.Equal([Strings.Read(enabled), Strings.Read(disabled)], List(default, DEVICE_INTERFACE_INCLUDE_NONACTIVE));
        Assert.Empty(List(second.PhysicalDevice, 0));
    });

    [Fact]
    public void An_alias_is_the_other_class_of_the_same_device() => Run(() =>
    {
        DeviceNode node = Started();
        PUNICODE_STRING disk = Register(node, DiskLike), volume = Register(node, Volume);
        PUNICODE_STRING alias = NewString();

        Assert.Equal(STATUS_SUCCESS, IoGetDeviceInterfaceAlias(disk, Volume, alias));

        Assert.Equal(Strings.Read(volume), Strings.Read(alias));
    });

    // ---- Notifications

    PVOID Listen(IO_NOTIFICATION_EVENT_CATEGORY category, PVOID data, uint flags = 0, NTSTATUS answer = STATUS_SUCCESS, NTSTATUS expected = STATUS_SUCCESS)
    {
        DRIVER_NOTIFICATION_CALLBACK_ROUTINE callback = (structure, context) =>
        {
            PPLUGPLAY_NOTIFICATION_HEADER header = new(structure.Address);
            string name = header.Event == GUID_DEVICE_INTERFACE_ARRIVAL ? "arrival"
                : header.Event == GUID_DEVICE_INTERFACE_REMOVAL ? "removal"
                : header.Event == GUID_TARGET_DEVICE_QUERY_REMOVE ? "query"
                : header.Event == GUID_TARGET_DEVICE_REMOVE_CANCELLED ? "cancelled"
                : header.Event == GUID_TARGET_DEVICE_REMOVE_COMPLETE ? "complete" : "custom";
            Assert.Equal((1, (byte)PASSIVE_LEVEL, 7ul), (header.Version, KeGetCurrentIrql(), context.Address));
            if (category == IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryDeviceInterfaceChange)
            {
                PDEVICE_INTERFACE_CHANGE_NOTIFICATION change = new(structure.Address);
                Assert.Equal((DEVICE_INTERFACE_CHANGE_NOTIFICATION.SizeOf, DiskLike), (change.Size, change.InterfaceClassGuid));
                name += " " + Strings.Read(change.SymbolicLinkName)[4..16];
            }
            else
            {
                Assert.Equal(data.Address, new PTARGET_DEVICE_REMOVAL_NOTIFICATION(structure.Address).FileObject.Address);
            }
            Step(name);
            return name == "query" ? answer : STATUS_SUCCESS;
        };
        Assert.Equal(expected, IoRegisterPlugPlayNotification(category, flags, data, DriverObject, Machine.Code.Routine(callback), new PVOID(7), out PVOID entry));
        return entry;
    }

    PVOID ClassPointer()
    {
        PVOID pointer = Memory(16);
        GuestMemory.Ref<Guid>(pointer.Address) = DiskLike;
        return pointer;
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void Interfaces_that_come_and_go_are_told(Scheduling scheduling) => Run(scheduling, () =>
    {
        PVOID before = Listen(IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryDeviceInterfaceChange, ClassPointer());
        DeviceNode node = Started();
        PUNICODE_STRING name = Register(node, DiskLike);
        Noted();
        IoSetDeviceInterfaceState(name, true);
        Pnp.Settle();
        Assert.Equal(["arrival ROOT#SAMPLE#"], Noted());

        PVOID late = Listen(IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryDeviceInterfaceChange, ClassPointer(), PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES);
        Assert.Equal(["arrival ROOT#SAMPLE#"], Noted());
        Assert.Equal(STATUS_SUCCESS, IoUnregisterPlugPlayNotification(late));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoUnregisterPlugPlayNotification(late));

        Pnp.Unplug(node);
        Pnp.Settle();
        Assert.Equal(["SURPRISE_REMOVAL", "REMOVE", "unload", "removal ROOT#SAMPLE#"], Noted());
        Assert.Equal(STATUS_SUCCESS, IoUnregisterPlugPlayNotificationEx(before));
    });

    PFILE_OBJECT OpenFile(DeviceNode node)
    {
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Machine.Objects.NameOf(node.PhysicalDevice), GENERIC_READ, 0, KernelMode, out PFILE_OBJECT file));
        return file;
    }

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-05")]
    public void Who_uses_a_device_is_told_of_its_loss(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        PFILE_OBJECT file = OpenFile(node);
        PVOID entry = Listen(IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryTargetDeviceChange, file);
        Noted();

        Pnp.Unplug(node);

        Assert.Equal(["SURPRISE_REMOVAL", "complete"], Noted());
        IoUnregisterPlugPlayNotificationEx(entry);
        Machine.Files.Close(file);
        Pnp.Settle();
        Assert.Equal(["REMOVE", "unload"], Noted());
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Who_uses_a_device_can_keep_it(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        PFILE_OBJECT file = OpenFile(node);
        PVOID entry = Listen(IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryTargetDeviceChange, file, answer: STATUS_UNSUCCESSFUL);
        Noted();

        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.Remove(node));

        Assert.Equal(["QUERY_RELATIONS", "query", "CANCEL_REMOVE", "cancelled"], Noted());
        Assert.Equal(DeviceNodeState.Started, node.State);
        IoUnregisterPlugPlayNotificationEx(entry);
        Machine.Files.Close(file);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_driver_tells_its_users_of_events_of_its_own(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        PFILE_OBJECT file = OpenFile(node);
        PVOID entry = Listen(IO_NOTIFICATION_EVENT_CATEGORY.EventCategoryTargetDeviceChange, file);
        PTARGET_DEVICE_CUSTOM_NOTIFICATION notification = new(Memory(TARGET_DEVICE_CUSTOM_NOTIFICATION.SizeOf).Address);
        notification.Version = 1;
        notification.Size = TARGET_DEVICE_CUSTOM_NOTIFICATION.SizeOf;
        notification.Event = Volume;
        Noted();

        Assert.Equal(STATUS_SUCCESS, IoReportTargetDeviceChange(node.PhysicalDevice, notification));
        Assert.Equal(["custom"], Noted());
        notification.FileObject = default;
        KeRaiseIrql(DISPATCH_LEVEL, out byte irql);
        DEVICE_CHANGE_COMPLETE_CALLBACK done = _ => Step("told");
        Assert.Equal(STATUS_PENDING, IoReportTargetDeviceChangeAsynchronous(node.PhysicalDevice, notification, Machine.Code.Routine(done), default));
        Free(notification);
        KeLowerIrql(irql);
        Pnp.Settle();
        Assert.Equal(["custom", "told"], Noted());

        PTARGET_DEVICE_CUSTOM_NOTIFICATION ofSystem = new(Memory(TARGET_DEVICE_CUSTOM_NOTIFICATION.SizeOf).Address);
        ofSystem.Event = GUID_TARGET_DEVICE_REMOVE_COMPLETE;
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoReportTargetDeviceChange(node.PhysicalDevice, ofSystem));
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoReportTargetDeviceChangeAsynchronous(node.PhysicalDevice, ofSystem, null, default));
        IoUnregisterPlugPlayNotificationEx(entry);
        Machine.Files.Close(file);
    });

    // ---- Properties

    byte[] Property(DeviceNode node, DEVICE_REGISTRY_PROPERTY property)
    {
        NTSTATUS status = IoGetDeviceProperty(node.PhysicalDevice, property, 0, default, out uint length);
        if (status == STATUS_OBJECT_NAME_NOT_FOUND) return [];
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, status);
        PVOID buffer = Memory((int)length);
        Assert.Equal(STATUS_SUCCESS, IoGetDeviceProperty(node.PhysicalDevice, property, length, buffer, out uint written));
        Assert.Equal(length, written);
        return Bytes(buffer, (int)length);
    }

    string TextProperty(DeviceNode node, DEVICE_REGISTRY_PROPERTY property) => Encoding.Unicode.GetString(Property(node, property));

    [Fact]
    public void Properties_come_from_bus_and_installation() => Run(() =>
    {
        DeviceNode node = Report(
            new DeviceDescription(@"ROOT\SAMPLE") { Text = "By its bus", Location = "slot 1", CompatibleIds = ["A", "B"], Resources = [DeviceResource.Port(0x10, 1)] },
            new DeviceInstallation { ClassName = "Sample", ClassGuid = Volume, Manufacturer = "Us", FriendlyName = "Friend" });
        Pnp.Start(node);

        Assert.Equal("By its bus\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyDeviceDescription));
        Assert.Equal("ROOT\\SAMPLE\0\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyHardwareID));
        Assert.Equal("A\0B\0\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyCompatibleIDs));
        Assert.Equal("Sample\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyClassName));
        Assert.Equal($"{{{Volume}}}\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyClassGuid));
        Assert.Equal($"{{{Volume}}}\\0000\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyDriverKeyName));
        Assert.Equal("Us\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyManufacturer));
        Assert.Equal("Friend\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyFriendlyName));
        Assert.Equal("slot 1\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyLocationInformation));
        Assert.StartsWith(@"\Device\", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyPhysicalDeviceObjectName), StringComparison.Ordinal);
        Assert.Equal("ROOT\0", TextProperty(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyEnumeratorName));
        Assert.Equal(uint.MaxValue, BitConverter.ToUInt32(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyAddress)));
        Assert.Equal(uint.MaxValue, BitConverter.ToUInt32(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyUINumber)));
        Assert.Equal(0, BitConverter.ToInt32(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyInstallState)));
        Assert.Equal(3, BitConverter.ToInt32(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyRemovalPolicy)));
        Assert.Equal(0, BitConverter.ToInt32(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyLegacyBusType)));
        Assert.Equal(0, BitConverter.ToInt32(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyBusNumber)));
        Assert.Equal(new byte[16], Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyBusTypeGuid));
        Assert.Equal(CM_RESOURCE_LIST.SizeOf, Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyAllocatedResources).Length);
        Assert.Equal(CM_RESOURCE_LIST.SizeOf, Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyBootConfiguration).Length);
        Assert.Equal(IO_RESOURCE_REQUIREMENTS_LIST.SizeOf, Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyResourceRequirements).Length);
        Assert.Empty(Property(node, DEVICE_REGISTRY_PROPERTY.DevicePropertyContainerID));
        Assert.Equal(STATUS_INVALID_PARAMETER_2, IoGetDeviceProperty(node.PhysicalDevice, (DEVICE_REGISTRY_PROPERTY)99, 0, default, out _));
        PDEVICE_OBJECT notPdo = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoGetDeviceProperty(notPdo, DEVICE_REGISTRY_PROPERTY.DevicePropertyHardwareID, 0, default, out _));
    });

    [Fact]
    public void Drivers_keep_properties_with_a_device() => Run(() =>
    {
        DeviceNode node = Started();
        PDEVPROPKEY key = new(Memory(DEVPROPKEY.SizeOf).Address);
        key.fmtid = Volume;
        key.pid = 2;
        PVOID data = Memory(4);
        GuestMemory.Ref<uint>(data.Address) = 42;
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoGetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 4, data, out _, out _));

        Assert.Equal(STATUS_SUCCESS, IoSetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 7, 4, data));

        PVOID buffer = Memory(4);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, IoGetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 2, buffer, out uint size, out _));
        Assert.Equal(STATUS_SUCCESS, IoGetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 4, buffer, out size, out uint type));
        Assert.Equal((4u, 7u, 42u), (size, type, GuestMemory.Ref<uint>(buffer.Address)));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoSetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 7, 4, default));
        Assert.Equal(STATUS_SUCCESS, IoSetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 7, 0, default));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoGetDevicePropertyData(node.PhysicalDevice, key, 0, 0, 4, buffer, out _, out _));
    });
}
