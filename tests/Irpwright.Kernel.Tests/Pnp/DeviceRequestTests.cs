using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

/// <summary>Requests that a component of the system sends about one device.</summary>
public sealed class DeviceRequestTests : PnpTest
{
    static readonly Guid Type = new("7d9d3c2a-7f2d-4a43-9b0e-2f5f3a6f7a11");

    /// <summary>A device whose capabilities are the usual ones and these.</summary>
    DeviceNode StartedWith(DEVICE_CAPABILITY_FLAGS flags)
    {
        DEVICE_CAPABILITIES capabilities = DeviceDescription.DefaultCapabilities();
        capabilities.Flags |= flags;
        DeviceNode node = Started(new DeviceDescription(@"ROOT\SPECIAL") { Capabilities = capabilities });
        Noted();
        return node;
    }

    // ---- Interfaces

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-11"), Spec("PNP-01")]
    public void An_interface_can_be_asked_for_as_soon_as_the_stack_is_built(Scheduling scheduling) => Run(scheduling, () =>
    {
        const int size = INTERFACE.SizeOf + 8;
        DeviceNode node = Report();
        Assert.Equal(STATUS_SUCCESS, Pnp.AddDrivers(node));
        Answer = (minor, irp) =>
        {
            if (minor != IRP_MN_QUERY_INTERFACE) return null;
            Assert.Equal((STATUS_NOT_SUPPORTED, 0UL), (irp.IoStatus.Status, irp.IoStatus.Information));
            var asked = IoGetCurrentIrpStackLocation(irp).Parameters.QueryInterface;
            if (GuestMemory.Ref<Guid>(asked.InterfaceType.Address) != Type) return null;
            Assert.Equal(((ushort)size, (ushort)2, 0x99UL), (asked.Size, asked.Version, asked.InterfaceSpecificData.Address));
            asked.Interface.Size = size;
            asked.Interface.Version = 1;
            return STATUS_SUCCESS;
        };
        var buffer = new PINTERFACE(Memory(size).Address);
        Assert.Equal(STATUS_SUCCESS, Pnp.QueryInterface(node, Type, buffer, size, 2, new PVOID(0x99)));
        Assert.Equal(((ushort)size, (ushort)1), (buffer.Size, buffer.Version));
        Assert.Equal(STATUS_NOT_SUPPORTED, Pnp.QueryInterface(node, Guid.Empty, buffer, size, 2));
    });

    // ---- Configuration space

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-11")]
    public void Configuration_space_is_read_and_written_by_the_bus_driver(Scheduling scheduling) => Run(scheduling, () =>
    {
        const uint space = 0;
        byte[] content = [.. Enumerable.Range(0, 64).Select(i => (byte)i)];
        DeviceNode node = Started();
        Answer = (minor, irp) =>
        {
            if (minor is not (IRP_MN_READ_CONFIG or IRP_MN_WRITE_CONFIG)) return null;
            var asked = IoGetCurrentIrpStackLocation(irp).Parameters.ReadWriteConfig;
            if (asked.WhichSpace != space) return STATUS_INVALID_PARAMETER;
            int count = Math.Min((int)asked.Length, content.Length - (int)asked.Offset);
            Span<byte> buffer = GuestMemory.Write(asked.Buffer.Address, count);
            if (minor == IRP_MN_READ_CONFIG) content.AsSpan((int)asked.Offset, count).CopyTo(buffer);
            else buffer.CopyTo(content.AsSpan((int)asked.Offset));
            irp.IoStatus.Information = (ulong)count;
            return STATUS_SUCCESS;
        };
        byte[] read = new byte[4];
        Assert.Equal(new RequestAnswer(STATUS_SUCCESS, 4), Pnp.ReadConfig(node, space, 0x10, read));
        Assert.Equal([0x10, 0x11, 0x12, 0x13], read);
        Assert.Equal(new RequestAnswer(STATUS_SUCCESS, 2), Pnp.WriteConfig(node, space, 0x3E, new byte[] { 0xAA, 0xBB, 0xCC }));
        Assert.Equal([0x3D, 0xAA, 0xBB], content[0x3D..]);
        byte[] untouched = [7];
        Assert.Equal(STATUS_INVALID_PARAMETER, Pnp.ReadConfig(node, 9, 0, untouched).Status);
        Answer = (_, _) => null;
        Assert.Equal(STATUS_NOT_SUPPORTED, Pnp.ReadConfig(node, space, 0, untouched).Status);
        Assert.Equal([7], untouched);
    });

    // ---- Locks

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-12")]
    public void A_device_that_supports_it_is_locked_and_unlocked_by_its_bus(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = StartedWith(DEVICE_CAPABILITY_FLAGS.LockSupported);
        List<bool> seen = [];
        Inspect = irp =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MinorFunction == IRP_MN_SET_LOCK) seen.Add(IoGetCurrentIrpStackLocation(irp).Parameters.SetLock.Lock);
        };
        Assert.Equal((STATUS_SUCCESS, true), (Pnp.SetLock(node, true), node.IsLocked));
        Assert.Equal((STATUS_SUCCESS, false), (Pnp.SetLock(node, false), node.IsLocked));
        Assert.Equal([true, false], seen);
    });

    [Fact, Spec("PNP-12")]
    public void A_device_that_does_not_support_it_is_not_asked_to_lock() => Run(() =>
    {
        DeviceNode node = StartedWith(0);
        Assert.Equal((STATUS_NOT_SUPPORTED, false), (Pnp.SetLock(node, true), node.IsLocked));
        Assert.Empty(Noted());
    });

    [Theory]
    [InlineData(STATUS_SUCCESS, "SET_LOCK 0, EJECT", true)]
    [InlineData(STATUS_DEVICE_NOT_READY, "SET_LOCK 0", false)]
    [Spec("PNP-12")]
    public void A_locked_device_is_unlocked_before_it_is_ejected(NTSTATUS unlocked, string requests, bool ejected) => Run(() =>
    {
        DeviceNode node = StartedWith(DEVICE_CAPABILITY_FLAGS.LockSupported);
        PDEVICE_OBJECT bus = node.PhysicalDevice;
        Assert.Equal(STATUS_SUCCESS, Pnp.SetLock(node, true));
        // The function driver is gone by then: another device on top sees what the bus driver gets.
        List<string> seen = [];
        PDEVICE_OBJECT witness = default, below = default;
        witness = Device((device, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction == IRP_MN_SET_LOCK)
            {
                seen.Add($"SET_LOCK {(location.Parameters.SetLock.Lock ? 1 : 0)}");
                if (unlocked < 0) return Complete(irp, unlocked);
            }
            if (location.MinorFunction == IRP_MN_EJECT) seen.Add("EJECT");
            IoSkipCurrentIrpStackLocation(irp);
            return IoCallDriver(below, irp);
        });
        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));
        below = IoAttachDeviceToDeviceStack(witness, bus);
        ObReferenceObject(bus);
        NTSTATUS status = Pnp.Eject(node);
        Assert.Equal((unlocked, requests), (status, string.Join(", ", seen)));
        Assert.Equal(ejected, node.State == DeviceNodeState.Deleted);
        Assert.Equal(!ejected, node.IsLocked);
        IoDetachDevice(below);
        ObDereferenceObject(bus);
    });

    // ---- Special files

    [Theory]
    [InlineData(DeviceUsageTypePaging)]
    [InlineData(DeviceUsageTypeHibernation)]
    [InlineData(DeviceUsageTypeDumpFile)]
    [Spec("PNP-10")]
    public void A_special_file_is_there_when_all_drivers_have_agreed(DEVICE_USAGE_NOTIFICATION_TYPE type) => Run(() =>
    {
        DeviceNode node = Started();
        int count = 0;
        Inspect = irp =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction != IRP_MN_DEVICE_USAGE_NOTIFICATION) return;
            Assert.Equal((type, STATUS_NOT_SUPPORTED, 0UL, PASSIVE_LEVEL),
                (location.Parameters.UsageNotification.Type, irp.IoStatus.Status, irp.IoStatus.Information, KeGetCurrentIrql()));
            count += location.Parameters.UsageNotification.InPath ? 1 : -1;
        };
        Assert.Equal(STATUS_SUCCESS, Pnp.AddSpecialFile(node, type));
        Assert.Equal(STATUS_SUCCESS, Pnp.AddSpecialFile(node, type));
        Assert.Equal([type, type], node.SpecialFiles);
        Assert.Equal(2, count);
        Assert.Equal(STATUS_SUCCESS, Pnp.RemoveSpecialFile(node, type));
        Assert.Equal([type], node.SpecialFiles);
        Assert.Equal(1, count);
        Assert.Equal(STATUS_INVALID_DEVICE_STATE, Pnp.RemoveSpecialFile(node, DeviceUsageTypeBoot));
        Assert.Equal(1, count);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-10")]
    public void A_driver_that_refuses_keeps_the_special_file_away(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Answer = (minor, _) => minor == IRP_MN_DEVICE_USAGE_NOTIFICATION ? STATUS_UNSUCCESSFUL : null;
        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.AddSpecialFile(node, DeviceUsageTypePaging));
        Assert.Empty(node.SpecialFiles);
    });

    /// <summary>What a function driver does about a paging file: it says that its device cannot be disabled.</summary>
    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-10"), Spec("PNP-09")]
    public void A_device_in_the_paging_path_is_not_removed(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        bool isInPath = false;
        Answer = (minor, irp) =>
        {
            if (minor == IRP_MN_DEVICE_USAGE_NOTIFICATION)
            {
                isInPath = IoGetCurrentIrpStackLocation(irp).Parameters.UsageNotification.InPath;
                IoInvalidateDeviceState(node.PhysicalDevice);
            }
            if (minor != IRP_MN_QUERY_PNP_DEVICE_STATE) return null;
            irp.IoStatus.Information = isInPath ? (ulong)PNP_DEVICE_STATE.PNP_DEVICE_NOT_DISABLEABLE : 0;
            return STATUS_SUCCESS;
        };
        Assert.Equal(STATUS_SUCCESS, Pnp.AddSpecialFile(node, DeviceUsageTypePaging));
        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.Remove(node));
        Assert.Equal(STATUS_SUCCESS, Pnp.RemoveSpecialFile(node, DeviceUsageTypePaging));
        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));
        Assert.Empty(node.SpecialFiles);
    });

    // ---- The device of a file

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-13")]
    public void Who_wants_to_hear_of_a_files_device_has_the_stack_asked_for_it(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Machine.Objects.NameOf(node.PhysicalDevice), GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        List<(DEVICE_RELATION_TYPE, PFILE_OBJECT)> asked = [];
        Inspect = irp =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction == IRP_MN_QUERY_DEVICE_RELATIONS) asked.Add((location.Parameters.QueryDeviceRelations.Type, location.FileObject));
        };
        long before = References(node.PhysicalDevice);
        NTSTATUS Register(out PVOID entry) => IoRegisterPlugPlayNotification(
            EventCategoryTargetDeviceChange, 0, file, DriverObject, (_, _) => STATUS_SUCCESS, default, out entry);
        Assert.Equal(STATUS_SUCCESS, Register(out PVOID registered));
        Assert.Equal([(DEVICE_RELATION_TYPE.TargetDeviceRelation, file)], asked);
        Assert.Equal(before + 1, References(node.PhysicalDevice)); // as long as it is registered
        Assert.Equal(STATUS_SUCCESS, IoUnregisterPlugPlayNotification(registered));
        Assert.Equal(before, References(node.PhysicalDevice));

        Answer = (minor, _) => minor == IRP_MN_QUERY_DEVICE_RELATIONS ? STATUS_NOT_SUPPORTED : null;
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, Register(out _)); // a bus that does not know its own device
        Answer = (_, _) => null;
        Machine.Files.Close(file);
    });

    static long References(PDEVICE_OBJECT device) => GuestMemory.Ref<long>(device.Address - ObjectNamespace.HeaderSize);
}
