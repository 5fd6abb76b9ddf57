using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

/// <summary>Goal: devices go through their states as documented. Method: a function driver notes what the PnP manager sends.</summary>
public sealed class PlugAndPlayTests : PnpTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void A_reported_device_is_asked_about_itself(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Report(new DeviceDescription(@"ROOT\SAMPLE")
        {
            HardwareIds = [@"ROOT\SAMPLE&REV_1", @"ROOT\SAMPLE"],
            CompatibleIds = [@"ROOT\GENERIC"],
            Text = "A sample",
            Location = "nowhere",
        });

        Assert.Equal((@"ROOT\SAMPLE", "0000", @"ROOT\SAMPLE\0000"), (node.DeviceId, node.InstanceId, node.InstancePath));
        Assert.Equal([@"ROOT\SAMPLE&REV_1", @"ROOT\SAMPLE"], node.HardwareIds);
        Assert.Equal([@"ROOT\GENERIC"], node.CompatibleIds);
        Assert.Equal(("A sample", "nowhere"), (node.Description, node.Location));
        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceD3, node.Capabilities.DeviceState[(int)SYSTEM_POWER_STATE.PowerSystemSleeping3]);
        Assert.Equal(DO_BUS_ENUMERATED_DEVICE, node.PhysicalDevice.Flags & DO_BUS_ENUMERATED_DEVICE);
        Assert.Equal(DeviceNodeState.Enumerated, node.State);
        Assert.Equal(node, Pnp.Find(node.PhysicalDevice));
        Assert.Equal("0001", Report().InstanceId);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Starting_asks_in_the_documented_order(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();

        Assert.Equal(["AddDevice", "FILTER_REQUIREMENTS", "START", "QUERY_CAPABILITIES", "QUERY_STATE", "QUERY_RELATIONS"], Noted());
        Assert.Equal((DeviceNodeState.Started, CM_PROB.None), (node.State, node.Problem));
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-01")]
    public void Requests_begin_as_not_supported_at_PASSIVE_LEVEL_in_a_system_thread(Scheduling scheduling) => Run(scheduling, () =>
    {
        List<(NTSTATUS, byte, ThreadKind, MODE, int)> seen = [];
        Inspect = irp => seen.Add((irp.IoStatus.Status, KeGetCurrentIrql(), Machine.CurrentThread.Kind, irp.RequestorMode, irp.StackCount - irp.CurrentLocation));
        DeviceNode node = Started();
        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));

        Assert.Equal(8, seen.Count);
        Assert.All(seen, s => Assert.Equal((STATUS_NOT_SUPPORTED, (byte)PASSIVE_LEVEL, ThreadKind.System, KernelMode, 0), s));
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-02")]
    public void A_request_that_nobody_knows_comes_back_as_it_was(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();

        RequestAnswer answer = Pnp.Send(node, 0x0E, information: 0x1234);

        Assert.Equal(new RequestAnswer(STATUS_NOT_SUPPORTED, 0x1234), answer);
        Assert.Equal("0E", Noted()[^1]);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-06")]
    public void Capabilities_are_asked_for_with_size_version_and_unknown_numbers(Scheduling scheduling) => Run(scheduling, () =>
    {
        List<(ushort, ushort, uint, uint, uint)> seen = [];
        Inspect = irp =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction != IRP_MN_QUERY_CAPABILITIES) return;
            DEVICE_CAPABILITIES c = location.Parameters.DeviceCapabilities.Capabilities.Value;
            seen.Add((c.Size, c.Version, c.Address, c.UINumber, (uint)c.Flags));
        };
        Started();

        Assert.Equal([((ushort)0x40, (ushort)1, uint.MaxValue, uint.MaxValue, 0u)], seen);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-03")]
    public void A_failed_start_is_followed_by_removal(Scheduling scheduling) => Run(scheduling, () =>
    {
        Answer = (minor, _) => minor == IRP_MN_START_DEVICE ? STATUS_DEVICE_CONFIGURATION_ERROR : null;
        DeviceNode node = Report();

        Assert.Equal(STATUS_DEVICE_CONFIGURATION_ERROR, Pnp.Start(node));

        Assert.Equal(["AddDevice", "FILTER_REQUIREMENTS", "START", "REMOVE", "unload"], Noted());
        Assert.Equal((DeviceNodeState.Enumerated, CM_PROB.CM_PROB_FAILED_START, STATUS_DEVICE_CONFIGURATION_ERROR), (node.State, node.Problem, node.ProblemStatus));
        Assert.Equal(node.PhysicalDevice, IoGetAttachedDevice(node.PhysicalDevice));
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-03")]
    public void A_start_may_be_pended_and_is_waited_for(Scheduling scheduling) => Run(scheduling, () =>
    {
        Answer = (minor, irp) => minor == IRP_MN_START_DEVICE ? Pend(irp, () => Complete(irp, STATUS_SUCCESS)) : null;

        Assert.Equal(DeviceNodeState.Started, Started().State);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void When_AddDevice_fails_the_drivers_below_are_told_to_go(Scheduling scheduling) => Run(scheduling, () =>
    {
        int calls = 0;
        DriverService failing = DriverService.Of(Machine, "failing", () => new Failing(() => Step($"{++calls}: failing AddDevice")));
        DeviceNode node = Report(installation: new DeviceInstallation { LowerFilters = [ThisDriver()], Function = failing });

        Assert.Equal(STATUS_NO_SUCH_DEVICE, Pnp.Start(node));

        Assert.Equal(["AddDevice", "1: failing AddDevice", "REMOVE", "unload"], Noted());
        Assert.Equal(CM_PROB.CM_PROB_FAILED_ADD, node.Problem);
        Assert.Null(failing.Loaded);
    });

    sealed class Failing(Action called) : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
            DriverObject.DriverUnload = Routine(Unload);
            return STATUS_SUCCESS;
        }

        NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
        {
            called();
            return STATUS_NO_SUCH_DEVICE;
        }

        void Unload(PDRIVER_OBJECT DriverObject)
        {
        }
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_device_for_which_nothing_is_installed_runs_raw_or_not_at_all(Scheduling scheduling) => Run(scheduling, () =>
    {
        DEVICE_CAPABILITIES notRaw = DeviceDescription.DefaultCapabilities();
        notRaw.Flags &= ~DEVICE_CAPABILITY_FLAGS.RawDeviceOK;
        DeviceNode raw = Pnp.Report(new DeviceDescription(@"ROOT\RAW"));
        DeviceNode useless = Pnp.Report(new DeviceDescription(@"ROOT\USELESS") { Capabilities = notRaw });

        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.Started), (Pnp.Start(raw), raw.State));
        Assert.Equal((STATUS_NO_SUCH_DEVICE, CM_PROB.CM_PROB_FAILED_INSTALL), (Pnp.Start(useless), useless.Problem));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Filters_and_function_driver_are_stacked_in_their_order(Scheduling scheduling) => Run(scheduling, () =>
    {
        DriverService Filter(string name) => DriverService.Of(Machine, name, () => new PassThrough());
        DriverService[] filters = [Filter("low1"), Filter("low2"), Filter("up")];
        DeviceNode node = Report(installation: new DeviceInstallation { LowerFilters = filters[..2], Function = ThisDriver(), UpperFilters = filters[2..] });

        Assert.Equal(STATUS_SUCCESS, Pnp.Start(node));

        Assert.Equal(["low1", "low2", "test", "up"], node.Drivers.Select(d => d.Name));
        Assert.Equal(5, IoGetAttachedDevice(node.PhysicalDevice).StackSize);
        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));
        Assert.All(filters, f => Assert.Null(f.Loaded));
        Assert.DoesNotContain(Machine.Drivers.All, d => d.Name == "up");
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Nobody_opens_a_device_before_it_is_started(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Report();
        string name = Machine.Objects.NameOf(node.PhysicalDevice);
        Assert.Equal(STATUS_NO_SUCH_DEVICE, Machine.Files.Open(name, GENERIC_READ, 0, UserMode, out _));
        Pnp.AddDrivers(node);
        Assert.Equal(STATUS_NO_SUCH_DEVICE, Machine.Files.Open(name, GENERIC_READ, 0, UserMode, out _));

        Pnp.Start(node);

        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(name, GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        Machine.Files.Close(file);
    });

    // ---- Stopping

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-09")]
    public void A_device_is_stopped_and_started_again(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Noted();

        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.StopPending), (Pnp.QueryStop(node), node.State));
        Pnp.CancelStop(node);
        Assert.Equal(DeviceNodeState.Started, node.State);
        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.Stopped), (Pnp.Stop(node), node.State));
        Assert.Equal((STATUS_SUCCESS, DeviceNodeState.Started), (Pnp.Start(node), node.State));

        Assert.Equal(
            ["QUERY_STOP", "CANCEL_STOP", "QUERY_STOP", "STOP", "FILTER_REQUIREMENTS", "START", "QUERY_CAPABILITIES", "QUERY_RELATIONS"], Noted());
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_driver_that_refuses_to_stop_is_told_that_it_goes_on(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Noted();
        Answer = (minor, _) => minor == IRP_MN_QUERY_STOP_DEVICE ? STATUS_UNSUCCESSFUL : null;

        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.Stop(node));

        Assert.Equal(["QUERY_STOP", "CANCEL_STOP"], Noted());
        Assert.Equal(DeviceNodeState.Started, node.State);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-03")]
    public void A_restart_that_fails_is_a_surprise_removal(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Pnp.Stop(node);
        Noted();
        Answer = (minor, _) => minor == IRP_MN_START_DEVICE ? STATUS_UNSUCCESSFUL : null;

        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.Start(node));

        Assert.Equal(["FILTER_REQUIREMENTS", "START", "SURPRISE_REMOVAL", "REMOVE", "unload"], Noted());
        Assert.Equal(CM_PROB.CM_PROB_FAILED_START, node.Problem);
    });

    // ---- Removal

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-04")]
    public void A_device_is_removed_after_a_query(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Noted();

        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));

        Assert.Equal(["QUERY_RELATIONS", "QUERY_REMOVE", "REMOVE", "unload"], Noted());
        Assert.Equal(DeviceNodeState.Enumerated, node.State);
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(node));
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-04")]
    public void A_device_that_was_never_started_is_removed_without_a_query(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Report();
        Assert.Equal(STATUS_SUCCESS, Pnp.AddDrivers(node));

        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));

        Assert.Equal(["AddDevice", "REMOVE", "unload"], Noted());
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_driver_that_refuses_removal_is_told_that_it_goes_on(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Noted();
        Answer = (minor, _) => minor == IRP_MN_QUERY_REMOVE_DEVICE ? STATUS_UNSUCCESSFUL : null;

        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.Remove(node));

        Assert.Equal(["QUERY_RELATIONS", "QUERY_REMOVE", "CANCEL_REMOVE"], Noted());
        Assert.Equal(DeviceNodeState.Started, node.State);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void An_open_handle_prevents_removal(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Machine.Objects.NameOf(node.PhysicalDevice), GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        Noted();

        Assert.Equal(STATUS_UNSUCCESSFUL, Pnp.Remove(node));
        Assert.Equal(["QUERY_RELATIONS", "QUERY_REMOVE", "CANCEL_REMOVE"], Noted());
        Machine.Files.Close(file);

        Assert.Equal(STATUS_SUCCESS, Pnp.Remove(node));
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-05")]
    public void After_surprise_removal_the_device_is_removed_when_the_last_handle_is_closed(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        PDEVICE_OBJECT device = IoGetAttachedDevice(node.PhysicalDevice);
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(Machine.Objects.NameOf(node.PhysicalDevice), GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        Noted();

        Pnp.Unplug(node);
        Assert.Equal(["SURPRISE_REMOVAL"], Noted());
        Assert.Equal(DeviceNodeState.SurpriseRemoved, node.State);
        Assert.Equal(device, IoGetAttachedDevice(node.PhysicalDevice));

        Machine.Files.Close(file);
        Pnp.Settle();
        Assert.Equal(["REMOVE", "unload"], Noted());
        Assert.Equal(DeviceNodeState.Deleted, node.State);
        Assert.Empty(Pnp.Nodes);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-09")]
    public void A_device_that_reports_its_failure_is_removed(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Noted();
        Answer = (minor, irp) =>
        {
            if (minor != IRP_MN_QUERY_PNP_DEVICE_STATE) return null;
            irp.IoStatus.Information = (ulong)PNP_DEVICE_STATE.PNP_DEVICE_FAILED;
            return STATUS_SUCCESS;
        };
        KeRaiseIrql(DISPATCH_LEVEL, out byte irql);
        IoInvalidateDeviceState(node.PhysicalDevice);
        KeLowerIrql(irql);
        Pnp.Settle();

        Assert.Equal(["QUERY_STATE", "SURPRISE_REMOVAL", "REMOVE", "unload"], Noted());
        Assert.Equal(CM_PROB.CM_PROB_FAILED_POST_START, node.Problem);
    });

    /// <summary>Has the device say that its requirements have changed, and filters the new ones to this port; gets it, or 0, and the requests.</summary>
    (ulong Port, string[] Requests) ChangeRequirements(PNP_DEVICE_STATE state, ulong port, NTSTATUS? start = null)
    {
        DeviceNode node = Started(new DeviceDescription(@"ROOT\PORT") { Resources = [DeviceResource.Port(0x300, 8)] });
        ulong given = 0;
        Noted();
        Answer = (minor, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            switch (minor)
            {
                case IRP_MN_QUERY_PNP_DEVICE_STATE:
                    irp.IoStatus.Information = (ulong)state;
                    return STATUS_SUCCESS;
                case IRP_MN_FILTER_RESOURCE_REQUIREMENTS:
                    const ulong firstDescriptor = 0x28, minimum = 0x10, maximum = 0x18;
                    GuestMemory.Ref<ulong>(irp.IoStatus.Information + firstDescriptor + minimum) = port;
                    GuestMemory.Ref<ulong>(irp.IoStatus.Information + firstDescriptor + maximum) = port + 7;
                    return STATUS_SUCCESS;
                case IRP_MN_START_DEVICE:
                    given = (ulong)location.Parameters.StartDevice.AllocatedResources.List.PartialResourceList.PartialDescriptors.u.Generic.Start;
                    return start;
                default:
                    return null;
            }
        };
        IoInvalidateDeviceState(node.PhysicalDevice);
        Pnp.Settle();
        Assert.Equal(start is null ? DeviceNodeState.Started : DeviceNodeState.Enumerated, node.State);
        return (given, Noted());
    }

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-09")]
    public void A_device_with_new_requirements_gets_other_resources_while_it_works(Scheduling scheduling) => Run(scheduling, () =>
    {
        (ulong port, string[] requests) = ChangeRequirements(PNP_DEVICE_STATE.PNP_DEVICE_RESOURCE_REQUIREMENTS_CHANGED, 0x380);
        Assert.Equal(0x380UL, port);
        Assert.Equal(["QUERY_STATE", "QUERY_REQUIREMENTS", "FILTER_REQUIREMENTS", "START", "QUERY_RELATIONS"], requests);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-09")]
    public void A_device_that_also_says_that_it_has_failed_is_stopped_before(Scheduling scheduling) => Run(scheduling, () =>
    {
        (ulong port, string[] requests) =
            ChangeRequirements(PNP_DEVICE_STATE.PNP_DEVICE_FAILED | PNP_DEVICE_STATE.PNP_DEVICE_RESOURCE_REQUIREMENTS_CHANGED, 0x380);
        Assert.Equal(0x380UL, port);
        Assert.Equal(
            ["QUERY_STATE", "QUERY_REQUIREMENTS", "QUERY_STOP", "STOP", "FILTER_REQUIREMENTS", "START", "QUERY_CAPABILITIES", "QUERY_RELATIONS"], requests);
    });

    [Fact, Spec("PNP-09")]
    public void A_device_keeps_its_resources_when_others_have_what_it_wants() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(Pnp.Report(new DeviceDescription(@"ROOT\OTHER") { Resources = [DeviceResource.Port(0x380, 8)] })));
        (ulong port, string[] requests) = ChangeRequirements(PNP_DEVICE_STATE.PNP_DEVICE_RESOURCE_REQUIREMENTS_CHANGED, 0x380);
        Assert.Equal(0UL, port);
        Assert.Equal(["QUERY_STATE", "QUERY_REQUIREMENTS", "FILTER_REQUIREMENTS"], requests);
    });

    [Fact, Spec("PNP-09"), Spec("PNP-03")]
    public void A_device_that_does_not_take_its_new_resources_is_lost() => Run(() =>
    {
        string[] requests = ChangeRequirements(PNP_DEVICE_STATE.PNP_DEVICE_RESOURCE_REQUIREMENTS_CHANGED, 0x380, STATUS_UNSUCCESSFUL).Requests;
        Assert.Equal(["QUERY_STATE", "QUERY_REQUIREMENTS", "FILTER_REQUIREMENTS", "START", "SURPRISE_REMOVAL", "REMOVE", "unload"], requests);
    });

    /// <summary>A bus driver says so in its answer to the query.</summary>
    [Fact, Spec("PNP-09")]
    public void New_requirements_are_asked_for_between_query_and_stop() => Run(() =>
    {
        DeviceNode node = Started();
        Answer = (minor, _) => minor == IRP_MN_QUERY_STOP_DEVICE ? STATUS_RESOURCE_REQUIREMENTS_CHANGED : null;
        Noted();
        Assert.Equal(STATUS_SUCCESS, Pnp.Stop(node));
        Assert.Equal(["QUERY_STOP", "QUERY_REQUIREMENTS", "STOP"], Noted());
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("PNP-12")]
    public void The_eject_button_removes_and_ejects(Scheduling scheduling) => Run(scheduling, () =>
    {
        DeviceNode node = Started();
        Noted();

        IoRequestDeviceEject(node.PhysicalDevice);
        Pnp.Settle();

        Assert.Equal(["QUERY_RELATIONS", "QUERY_RELATIONS", "QUERY_REMOVE", "REMOVE", "unload"], Noted());
        Assert.Equal(DeviceNodeState.Deleted, node.State);
    });

    [Fact, Spec("PNP-12")]
    public void A_device_that_cannot_be_ejected_is_held_until_it_is_taken_out() => Run(() =>
    {
        DEVICE_CAPABILITIES capabilities = DeviceDescription.DefaultCapabilities();
        capabilities.Flags &= ~DEVICE_CAPABILITY_FLAGS.EjectSupported;
        DeviceNode node = Started(new DeviceDescription(@"ROOT\FIXED") { Capabilities = capabilities });

        Assert.Equal(STATUS_SUCCESS, Pnp.Eject(node));

        Assert.Equal(CM_PROB.CM_PROB_HELD_FOR_EJECT, node.Problem);
        Assert.Equal(STATUS_INVALID_DEVICE_STATE, Pnp.Start(node));
    });

    // ---- Resources

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_device_is_started_with_the_resources_it_needs(Scheduling scheduling) => Run(scheduling, () =>
    {
        List<string> seen = [];
        Inspect = irp =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction != IRP_MN_START_DEVICE) return;
            foreach (PCM_RESOURCE_LIST list in new[] { location.Parameters.StartDevice.AllocatedResources, location.Parameters.StartDevice.AllocatedResourcesTranslated })
            {
                CM_PARTIAL_RESOURCE_LIST partial = list.List.PartialResourceList;
                Assert.Equal((1u, 3u), (list.Count, partial.Count));
                for (uint i = 0; i < partial.Count; i++)
                {
                    var descriptor = GuestMemory.Ref<CM_PARTIAL_RESOURCE_DESCRIPTOR>(list.Address + 0x14 + i * CM_PARTIAL_RESOURCE_DESCRIPTOR.SizeOf);
                    seen.Add($"{descriptor.Type}: {descriptor.u.Generic.Start:x} {descriptor.u.Generic.Length:x}");
                }
            }
        };
        DeviceNode node = Started(new DeviceDescription(@"ROOT\HARD")
        {
            Resources = [DeviceResource.Port(0x300, 8), DeviceResource.Memory(0xE0000000, 0x1000), DeviceResource.Interrupt(0x51, 5)],
        });

        string[] expected = ["1: 300 8", "3: e0000000 1000", "2: 5100000005 ffffffff"];
        Assert.Equal([.. expected, .. expected], seen);
        Inspect = null;
        DeviceNode second = Report(new DeviceDescription(@"ROOT\HARD2") { Resources = [DeviceResource.Port(0x304, 1)] });
        Assert.Equal((STATUS_CONFLICTING_ADDRESSES, CM_PROB.CM_PROB_NORMAL_CONFLICT), (Pnp.Start(second), second.Problem));
        Pnp.Remove(node);
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(second));
    });

    [Fact]
    public void The_function_driver_may_filter_the_requirements() => Run(() =>
    {
        Answer = (minor, irp) =>
        {
            if (minor != IRP_MN_FILTER_RESOURCE_REQUIREMENTS) return null;
            PIO_RESOURCE_REQUIREMENTS_LIST list = new(irp.IoStatus.Information);
            Assert.Equal(list, IoGetCurrentIrpStackLocation(irp).Parameters.FilterResourceRequirements.IoResourceRequirementList);
            ref IO_RESOURCE_DESCRIPTOR port = ref list.Value.List.Descriptors;
            port.u.Generic.MinimumAddress = 0x400;
            port.u.Generic.MaximumAddress = 0x4FF;
            port.u.Generic.Alignment = 0x20;
            return STATUS_SUCCESS;
        };
        Started(new DeviceDescription(@"ROOT\A") { Resources = [DeviceResource.Port(0x300, 8)] });
        DeviceNode second = Started(new DeviceDescription(@"ROOT\B") { Resources = [DeviceResource.Port(0x300, 8)] });

        Assert.Equal([new DeviceResource(CmResourceTypePort, 0x420, 8, 1)], DeviceResource.FromResourceList(second.AllocatedResources.Span));
    });
}
