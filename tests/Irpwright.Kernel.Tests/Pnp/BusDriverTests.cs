using System.Runtime.InteropServices;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

/// <summary>Goal: what a bus driver reports comes and goes. Method: the test is bus driver for its children and their function driver.</summary>
public sealed class BusDriverTests : PnpTest
{
    const uint Tag = 0x7375_4270;

    readonly List<PDEVICE_OBJECT> present = [];
    readonly Dictionary<PDEVICE_OBJECT, string> ids = [];
    DeviceNode bus = null!;
    bool adds = true;
    Action<PIO_STACK_LOCATION>? note;

    void StartBus()
    {
        Answer = (minor, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            bool isBus = !bus.PhysicalDevice.IsNull && location.DeviceObject == bus.PhysicalDevice.AttachedDevice;
            if (minor != IRP_MN_QUERY_DEVICE_RELATIONS || !isBus || location.Parameters.QueryDeviceRelations.Type != DEVICE_RELATION_TYPE.BusRelations) return null;
            irp.IoStatus.Information = Relations(present).Address;
            return STATUS_SUCCESS;
        };
        bus = Report(new DeviceDescription(@"ROOT\BUS"));
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(bus));
        Noted();
    }

    PVOID Relations(List<PDEVICE_OBJECT> devices)
    {
        PVOID block = ExAllocatePoolWithTag(PagedPool, (ulong)(8 + 8 * devices.Count), Tag);
        GuestMemory.Ref<uint>(block.Address) = (uint)devices.Count;
        for (int i = 0; i < devices.Count; i++)
        {
            GuestMemory.Ref<PDEVICE_OBJECT>(block.Address + 8 + 8 * (ulong)i) = devices[i];
            if (!devices[i].IsNull && adds) ObReferenceObject(devices[i]);
        }
        return block;
    }

    PDEVICE_OBJECT Plug(string id)
    {
        PDEVICE_OBJECT child = Device(Child);
        ids[child] = id;
        present.Add(child);
        return child;
    }

    NTSTATUS Child(PDEVICE_OBJECT device, PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        byte minor = location.MinorFunction;
        note?.Invoke(location);
        if (note is null && minor is IRP_MN_QUERY_ID or IRP_MN_START_DEVICE or IRP_MN_SURPRISE_REMOVAL or IRP_MN_REMOVE_DEVICE) Step($"{ids[device]}: {NameOf(minor)}");
        if (minor == IRP_MN_QUERY_ID && location.Parameters.QueryId.IdType is BUS_QUERY_ID_TYPE.BusQueryDeviceID or BUS_QUERY_ID_TYPE.BusQueryHardwareIDs)
        {
            string text = ids[device] + "\0\0";
            PVOID block = ExAllocatePoolWithTag(PagedPool, 2 * (ulong)text.Length, Tag);
            MemoryMarshal.AsBytes(text.AsSpan()).CopyTo(GuestMemory.Write(block.Address, 2 * text.Length));
            return Complete(irp, STATUS_SUCCESS, block.Address);
        }
        NTSTATUS status = minor is IRP_MN_QUERY_ID ? STATUS_NOT_SUPPORTED : STATUS_SUCCESS;
        Complete(irp, status, minor == IRP_MN_QUERY_PNP_DEVICE_STATE ? 0 : irp.IoStatus.Information);
        if (minor == IRP_MN_REMOVE_DEVICE && !present.Contains(device)) IoDeleteDevice(device);
        return status;
    }

    void Enumerate()
    {
        IoInvalidateDeviceRelations(bus.PhysicalDevice, DEVICE_RELATION_TYPE.BusRelations);
        Pnp.Settle();
    }

    static long References(PDEVICE_OBJECT device) => GuestMemory.Ref<long>(device.Address - ObjectNamespace.HeaderSize);

    [Theory, MemberData(nameof(EverySchedule))]
    public void Children_that_arrive_get_drivers_and_are_started(Scheduling scheduling) => Run(scheduling, () =>
    {
        StartBus();
        Pnp.Install(@"BUS\CHILD", new DeviceInstallation { Function = ThisDriver() });
        PDEVICE_OBJECT child = Plug(@"BUS\CHILD");
        Enumerate();

        DeviceNode node = Assert.Single(bus.Children);
        Assert.Equal((child, DeviceNodeState.Started, bus), (node.PhysicalDevice, node.State, node.Parent));
        Assert.StartsWith("2&", node.InstanceId, StringComparison.Ordinal);
        Assert.Equal(2, References(child));
        Noted();
        Enumerate();
        Assert.Equal(["QUERY_RELATIONS"], Noted());
        Assert.Equal(2, References(child));
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-08")]
    public void A_child_that_arrives_is_asked_about_itself_before_its_drivers_are_added_and_once_more_when_it_runs(Scheduling scheduling) => Run(scheduling, () =>
    {
        StartBus();
        note = location => Step(NameOf(location.MinorFunction));
        Pnp.Install(@"BUS\CHILD", new DeviceInstallation { Function = ThisDriver() });
        Plug(@"BUS\CHILD");
        Enumerate();
        // What the function driver is asked it notes first, and passes down.
        Assert.Equal(
        [
            "QUERY_RELATIONS",
            "QUERY_ID", "QUERY_ID", "QUERY_ID", "QUERY_ID", "QUERY_ID", "QUERY_CAPABILITIES", "QUERY_TEXT", "QUERY_TEXT", "QUERY_BUS", "QUERY_RESOURCES",
            "QUERY_REQUIREMENTS", "ENUMERATED",
            "AddDevice",
            "FILTER_REQUIREMENTS", "FILTER_REQUIREMENTS", "START", "START", "QUERY_CAPABILITIES", "QUERY_CAPABILITIES", "QUERY_STATE", "QUERY_STATE",
            "QUERY_RELATIONS", "QUERY_RELATIONS",
        ], Noted());
    });

    [Fact]
    [Spec("PNP-08")]
    public void A_child_is_asked_for_each_id_and_for_two_texts() => Run(() =>
    {
        StartBus();
        List<string> asked = [];
        note = location =>
        {
            if (location.MinorFunction == IRP_MN_QUERY_ID) asked.Add($"{location.Parameters.QueryId.IdType}");
            if (location.MinorFunction == IRP_MN_QUERY_DEVICE_TEXT) asked.Add($"{location.Parameters.QueryDeviceText.DeviceTextType} {location.Parameters.QueryDeviceText.LocaleId:X}");
        };
        Plug(@"BUS\CHILD");
        Enumerate();
        Assert.Equal(
        [
            "BusQueryDeviceID", "BusQueryInstanceID", "BusQueryHardwareIDs", "BusQueryCompatibleIDs", "BusQueryContainerID",
            "DeviceTextDescription 409", "DeviceTextLocationInformation 409",
        ], asked);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-05")]
    public void A_child_that_has_gone_is_surprise_removed_and_deleted(Scheduling scheduling) => Run(scheduling, () =>
    {
        StartBus();
        Pnp.Install(@"BUS\CHILD", new DeviceInstallation { Function = ThisDriver() });
        Plug(@"BUS\CHILD");
        Enumerate();
        Noted();
        present.Clear();
        Enumerate();

        Assert.Equal(
            ["QUERY_RELATIONS", "SURPRISE_REMOVAL", @"BUS\CHILD: SURPRISE_REMOVAL", "REMOVE", @"BUS\CHILD: REMOVE"], Noted());
        Assert.Empty(bus.Children);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Children_are_removed_before_their_bus(Scheduling scheduling) => Run(scheduling, () =>
    {
        StartBus();
        Pnp.Install(@"BUS\CHILD", new DeviceInstallation { Function = ThisDriver() });
        Plug(@"BUS\CHILD");
        Enumerate();
        Inspect = irp =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction is IRP_MN_QUERY_REMOVE_DEVICE or IRP_MN_REMOVE_DEVICE)
                Step(location.DeviceObject == bus.PhysicalDevice.AttachedDevice ? "bus" : "child");
        };
        Noted();

        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(bus));

        Assert.Equal(["child", "bus", "child", "bus"], Noted().Where(s => s is "child" or "bus"));
        Assert.Empty(bus.Children);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Stopping_a_bus_stops_its_children_first_and_restarts_them_last(Scheduling scheduling) => Run(scheduling, () =>
    {
        StartBus();
        Pnp.Install(@"BUS\CHILD", new DeviceInstallation { Function = ThisDriver() });
        Plug(@"BUS\CHILD");
        Enumerate();
        Inspect = irp => Step(IoGetCurrentIrpStackLocation(irp).DeviceObject == bus.PhysicalDevice.AttachedDevice ? "bus" : "child");
        Noted();

        Assert.Equal(STATUS_SUCCESS, Pnp.Stop(bus));
        Assert.Equal(["child", "QUERY_STOP", "bus", "QUERY_STOP", "child", "STOP", "bus", "STOP"], Noted());
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(bus));
        string[] starts = Noted();
        Assert.True(Array.IndexOf(starts, "bus") < Array.IndexOf(starts, "child"));
        Assert.Equal(DeviceNodeState.Started, bus.Children[0].State);
    });

    [Fact]
    public void Removal_relations_go_along() => Run(() =>
    {
        StartBus();
        DeviceNode other = Report(new DeviceDescription(@"ROOT\OTHER"));
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(other));
        Answer = (minor, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            bool isBus = location.DeviceObject == bus.PhysicalDevice.AttachedDevice;
            if (minor != IRP_MN_QUERY_DEVICE_RELATIONS || !isBus || location.Parameters.QueryDeviceRelations.Type != DEVICE_RELATION_TYPE.RemovalRelations) return null;
            irp.IoStatus.Information = Relations([other.PhysicalDevice]).Address;
            return STATUS_SUCCESS;
        };
        long references = References(other.PhysicalDevice);

        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(bus));

        Assert.Equal(DeviceNodeState.Enumerated, other.State);
        Assert.Equal(references, References(other.PhysicalDevice) + 0);
    });

    // ---- What stops the machine

    [Fact]
    public void A_routine_that_needs_a_PDO_stops_the_machine_for_any_other_device()
    {
        BugCheckReport report = Stops(PNP_DETECTED_FATAL_ERROR, () =>
        {
            StartBus();
            IoInvalidateDeviceRelations(IoGetAttachedDevice(bus.PhysicalDevice), DEVICE_RELATION_TYPE.BusRelations);
        });
        Assert.Equal(2u, report.Parameter1);
    }

    [Theory]
    [InlineData("null", 8)]
    [InlineData("deleted", 4)]
    [InlineData("duplicate", 1)]
    [InlineData("invalid", 3)]
    public void A_bus_driver_that_reports_nonsense_stops_the_machine(string what, int parameter)
    {
        BugCheckReport report = Stops(PNP_DETECTED_FATAL_ERROR, () =>
        {
            StartBus();
            switch (what)
            {
                case "null":
                    present.Add(default);
                    break;
                case "deleted":
                    PDEVICE_OBJECT deleted = Plug(@"BUS\GONE");
                    ObReferenceObject(deleted);
                    IoDeleteDevice(deleted);
                    break;
                case "duplicate":
                    Plug(@"BUS\TWIN");
                    Plug(@"BUS\TWIN");
                    break;
                default:
                    Plug(@"BUS\WITH,COMMA");
                    break;
            }
            Enumerate();
        });
        Assert.Equal((ulong)parameter, report.Parameter1);
    }

    // ---- Devices that drivers report by themselves

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_detected_device_counts_as_started(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDEVICE_OBJECT device = default;
        Assert.Equal(STATUS_SUCCESS, IoReportDetectedDevice(DriverObject, INTERFACE_TYPE.Isa, 0, uint.MaxValue, default, default, false, ref device));

        DeviceNode node = Pnp.Find(device)!;
        Assert.Equal((DeviceNodeState.Started, @"ROOT\test"), (node.State, node.DeviceId));
        Assert.Equal([@"DETECTEDInternal\test", @"DETECTED\test"], node.CompatibleIds);
        Device((_, irp) => Complete(irp, STATUS_SUCCESS), above: device);
        Assert.DoesNotContain("START", Noted());
    });

    [Fact]
    public void A_detected_device_may_bring_its_own_PDO() => Run(() =>
    {
        PDEVICE_OBJECT mine = Device((_, irp) => Complete(irp, irp.IoStatus.Status));
        PDEVICE_OBJECT device = mine;
        Assert.Equal(STATUS_SUCCESS, IoReportDetectedDevice(DriverObject, INTERFACE_TYPE.InterfaceTypeUndefined, uint.MaxValue, uint.MaxValue, default, default, true, ref device));
        Assert.Equal(mine, device);
        Assert.NotNull(Pnp.Find(mine));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_root_device_gets_the_driver_that_reports_it_once(Scheduling scheduling) => Run(scheduling, () =>
    {
        ThisDriver();
        Assert.Equal(STATUS_SUCCESS, IoReportRootDevice(DriverObject));
        Assert.Equal(STATUS_SUCCESS, IoReportRootDevice(DriverObject));
        Pnp.Settle();

        Assert.Single(Steps, s => s == "AddDevice");
        Assert.Equal(DeviceNodeState.Started, Assert.Single(Pnp.Nodes).State);
    });
}
