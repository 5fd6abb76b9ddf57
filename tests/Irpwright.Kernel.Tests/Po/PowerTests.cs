using Irpwright.Kernel.Tests.Pnp;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Po;

/// <summary>Goal: power requests are made, ordered and given back as documented. Method: a device policy owner on the root bus.</summary>
public sealed class PowerTests : PnpTest
{
    static POWER_STATE D(int state) => new() { DeviceState = (DEVICE_POWER_STATE)(state + 1) };

    static POWER_STATE S(int state) => new() { SystemState = (SYSTEM_POWER_STATE)(state + 1) };

    /// <summary>Passes power requests down, noting them.</summary>
    DRIVER_DISPATCH Passing(string name, Action<PIRP>? look = null) => (device, irp) =>
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        if (location.MajorFunction != IRP_MJ_POWER) return Complete(irp, STATUS_SUCCESS);
        look?.Invoke(irp);
        Step($"{name} {Describe(location)}");
        PDEVICE_OBJECT lower = device.DeviceObjectExtension.AttachedTo;
        PoStartNextPowerIrp(irp);
        IoSkipCurrentIrpStackLocation(irp);
        return PoCallDriver(lower, irp);
    };

    static string Describe(PIO_STACK_LOCATION location)
    {
        string minor = location.MinorFunction switch { IRP_MN_SET_POWER => "set", IRP_MN_QUERY_POWER => "query", _ => "wait" };
        if (location.MinorFunction == IRP_MN_WAIT_WAKE) return $"{minor} S{(int)location.Parameters.WaitWake.PowerState - 1}";
        bool isSystem = location.Parameters.Power.Type == POWER_STATE_TYPE.SystemPowerState;
        return $"{minor} {(isSystem ? 'S' : 'D')}{(int)location.Parameters.Power.State.DeviceState - 1}";
    }

    PREQUEST_POWER_COMPLETE Callback(Action<NTSTATUS>? also = null)
    {
        REQUEST_POWER_COMPLETE callback = (device, minor, state, context, ioStatus) =>
        {
            Step($"callback {minor} {state.DeviceState} {context.Address} {ioStatus.Status.Name}");
            also?.Invoke(ioStatus.Status);
        };
        return Machine.Code.Routine(callback);
    }

    [Theory, MemberData(nameof(EverySchedule)), Spec("POWER-01"), Spec("POWER-02"), Spec("POWER-03"), Spec("POWER-07")]
    public void A_requested_packet_goes_down_the_whole_stack_and_comes_back_by_callback(Scheduling scheduling) => Run(scheduling, () =>
    {
        NTSTATUS first = Untouched;
        Other = Passing("function", irp => first = irp.IoStatus.Status);
        DeviceNode node = Started();
        Noted();
        PKEVENT done = Event();

        Assert.Equal(STATUS_PENDING, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_SET_POWER, D(3), Callback(_ => KeSetEvent(done, 0, false)), new PVOID(5), default(PVOID)));
        Wait(done);

        Assert.Equal(["function set D3", "callback 2 PowerDeviceD3 5 STATUS_SUCCESS"], Noted());
        Assert.Equal(STATUS_NOT_SUPPORTED, first);
        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceD3, PowerIrps.StateOf(node.PhysicalDevice));
    });

    [Fact, Spec("POWER-01")]
    public void A_request_that_cannot_be_made_is_refused_without_callback() => Run(() =>
    {
        DeviceNode node = Started();
        Noted();
        Assert.Equal(STATUS_INVALID_PARAMETER_2, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_POWER_SEQUENCE, D(3), Callback(), default, default(PVOID)));
        Machine.Irps.FailAllocation = _ => true;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_SET_POWER, D(3), Callback(), default, default(PVOID)));
        Machine.Irps.FailAllocation = null;
        Assert.Empty(Noted());
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("POWER-08")]
    public void One_request_is_active_per_device_and_the_next_waits(Scheduling scheduling) => Run(scheduling, () =>
    {
        PIRP held = default;
        Other = (device, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            Step(Describe(location));
            if (!held.IsNull) return Passing("function")(device, irp);
            held = irp;
            IoMarkIrpPending(irp);
            return STATUS_PENDING;
        };
        DeviceNode node = Started();
        Noted();
        PKEVENT done = Event();
        Assert.Equal(STATUS_PENDING, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_QUERY_POWER, D(2), Callback(), default, default(PVOID)));
        Assert.Equal(STATUS_PENDING, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_SET_POWER, D(2), Callback(_ => KeSetEvent(done, 0, false)), default, default(PVOID)));
        Assert.Equal(["query D2"], Noted());

        Complete(held, STATUS_SUCCESS);
        Wait(done);

        Assert.Equal(["callback 3 PowerDeviceD2 0 STATUS_SUCCESS", "set D2", "function set D2", "callback 2 PowerDeviceD2 0 STATUS_SUCCESS"], Noted());
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("POWER-08")]
    public void Devices_that_draw_inrush_current_are_powered_up_one_at_a_time(Scheduling scheduling) => Run(scheduling, () =>
    {
        List<PIRP> held = [];
        List<byte> irqls = [];
        Other = (_, irp) =>
        {
            held.Add(irp);
            irqls.Add(KeGetCurrentIrql());
            IoMarkIrpPending(irp);
            return STATUS_PENDING;
        };
        var description = new DeviceDescription(@"ROOT\MOTOR") { Flags = DO_POWER_INRUSH };
        DeviceNode first = Started(description), second = Started(description);
        PoRequestPowerIrp(first.PhysicalDevice, IRP_MN_SET_POWER, D(0), null, default, default(PVOID));
        PoRequestPowerIrp(second.PhysicalDevice, IRP_MN_SET_POWER, D(0), null, default, default(PVOID));
        Assert.Single(held);

        Complete(held[0], STATUS_SUCCESS);

        Assert.Equal(2, held.Count);
        Assert.Equal([DISPATCH_LEVEL, DISPATCH_LEVEL], irqls);
        Complete(held[1], STATUS_SUCCESS);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("CALL-14"), Spec("POWER-08")]
    public void A_pageable_driver_gets_power_requests_at_PASSIVE_LEVEL(Scheduling scheduling) => Run(scheduling, () =>
    {
        PKEVENT done = Event();
        List<(byte, ThreadKind)> seen = [];
        PDEVICE_OBJECT pageable = Device((_, irp) =>
        {
            seen.Add((KeGetCurrentIrql(), Machine.CurrentThread.Kind));
            return Complete(irp, STATUS_SUCCESS);
        }, flags: DO_POWER_PAGABLE);
        PIRP packet = Packet(pageable, IRP_MJ_POWER);
        IoGetNextIrpStackLocation(packet).MinorFunction = IRP_MN_SET_POWER;
        OnCompletion(packet, (_, irp, _) =>
        {
            Step(irp.PendingReturned ? "pending" : "not pending");
            KeSetEvent(done, 0, false);
            return STATUS_MORE_PROCESSING_REQUIRED;
        });
        KeRaiseIrql(DISPATCH_LEVEL, out byte irql);
        NTSTATUS status = IoCallDriver(pageable, packet);
        KeLowerIrql(irql);
        Wait(done);

        Assert.Equal(STATUS_PENDING, status);
        Assert.Equal([((byte)PASSIVE_LEVEL, ThreadKind.System)], seen);
        Assert.Equal(["pending"], Noted());
        IoFreeIrp(packet);
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("CALL-14")]
    public void Any_other_driver_gets_them_where_they_are_sent(Scheduling scheduling) => Run(scheduling, () =>
    {
        byte seen = 99;
        PDEVICE_OBJECT device = Device((_, irp) =>
        {
            seen = KeGetCurrentIrql();
            return Complete(irp, STATUS_SUCCESS);
        });
        PIRP packet = Packet(device, IRP_MJ_POWER);
        IoGetNextIrpStackLocation(packet).MinorFunction = IRP_MN_SET_POWER;
        OnCompletion(packet, Keep("done"));
        KeRaiseIrql(DISPATCH_LEVEL, out byte irql);
        Assert.Equal(STATUS_SUCCESS, PoCallDriver(device, packet));
        KeLowerIrql(irql);
        Assert.Equal(DISPATCH_LEVEL, seen);
        IoFreeIrp(packet);
    });

    // ---- The system

    [Theory, MemberData(nameof(EverySchedule))]
    public void The_system_asks_before_it_sleeps_children_first_and_wakes_parents_first(Scheduling scheduling) => Run(scheduling, () =>
    {
        Other = Passing("?", irp =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            uint context = location.Parameters.Power.SystemPowerStateContext;
            Step($"{Pnp.FindByStack(location.DeviceObject)!.DeviceId} {location.Parameters.Power.ShutdownType} {context >> 16 & 15}>{context >> 8 & 15} {context >> 12 & 15}");
        });
        Started(new DeviceDescription(@"ROOT\A"));
        Started(new DeviceDescription(@"ROOT\B"));
        Noted();

        Assert.Equal(STATUS_SUCCESS, Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3));
        Assert.Equal(
            [@"ROOT\B PowerActionSleep 1>4 4", "? query S3", @"ROOT\A PowerActionSleep 1>4 4", "? query S3", @"ROOT\B PowerActionSleep 1>4 4", "? set S3", @"ROOT\A PowerActionSleep 1>4 4", "? set S3"],
            Noted());
        Assert.Equal(SYSTEM_POWER_STATE.PowerSystemSleeping3, Machine.Power.State);

        Machine.Power.Wake();
        Assert.Equal([@"ROOT\A PowerActionSleep 4>1 1", "? set S0", @"ROOT\B PowerActionSleep 4>1 1", "? set S0"], Noted());
        Assert.Equal(SYSTEM_POWER_STATE.PowerSystemWorking, Machine.Power.State);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_driver_that_refuses_keeps_the_system_awake(Scheduling scheduling) => Run(scheduling, () =>
    {
        Other = (device, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MinorFunction != IRP_MN_QUERY_POWER || Pnp.FindByStack(device)!.DeviceId != @"ROOT\A") return Passing("?")(device, irp);
            Step("refuses");
            return Complete(irp, STATUS_DEVICE_BUSY);
        };
        Started(new DeviceDescription(@"ROOT\A"));
        Started(new DeviceDescription(@"ROOT\B"));
        Noted();

        Assert.Equal(STATUS_DEVICE_BUSY, Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemHibernate));

        Assert.Equal(["? query S4", "refuses", "? set S0", "? set S0"], Noted());
        Assert.Equal(SYSTEM_POWER_STATE.PowerSystemWorking, Machine.Power.State);
        Assert.Equal(STATUS_SUCCESS, Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemHibernate, critical: true));
        Assert.Equal(["? set S4", "? set S4"], Noted());
    });

    [Theory, MemberData(nameof(EverySchedule)), Spec("POWER-04"), Spec("POWER-05"), Spec("POWER-06")]
    public void A_policy_owner_answers_a_system_request_with_a_device_request(Scheduling scheduling) => Run(scheduling, () =>
    {
        Other = (device, irp) =>
        {
            PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
            if (location.MajorFunction != IRP_MJ_POWER || location.Parameters.Power.Type == POWER_STATE_TYPE.DevicePowerState) return Passing("function")(device, irp);
            Step(Describe(location));
            IoMarkIrpPending(irp);
            IoCopyCurrentIrpStackLocationToNext(irp);
            OnCompletion(irp, (_, systemIrp, _) =>
            {
                byte minor = IoGetCurrentIrpStackLocation(systemIrp).MinorFunction;
                bool isWorking = IoGetCurrentIrpStackLocation(systemIrp).Parameters.Power.State.SystemState == SYSTEM_POWER_STATE.PowerSystemWorking;
                PoRequestPowerIrp(device, minor, D(isWorking ? 0 : 3), Callback(status =>
                {
                    Step($"system packet {IoGetCurrentIrpStackLocation(systemIrp).MajorFunction:X}:{IoGetCurrentIrpStackLocation(systemIrp).MinorFunction}");
                    Complete(systemIrp, status);
                }), default, default(PVOID));
                return STATUS_MORE_PROCESSING_REQUIRED;
            });
            IoCallDriver(device.DeviceObjectExtension.AttachedTo, irp);
            return STATUS_PENDING;
        };
        Started();
        Noted();

        Assert.Equal(STATUS_SUCCESS, Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3));

        Assert.Equal(
            ["query S3", "function query D3", "callback 3 PowerDeviceD3 0 STATUS_SUCCESS", "system packet 16:3",
             "set S3", "function set D3", "callback 2 PowerDeviceD3 0 STATUS_SUCCESS", "system packet 16:2"],
            Noted());
        Machine.Power.Wake();
        Assert.Contains("function set D0", Noted());
    });

    // ---- Wait/wake

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_wait_wake_request_is_held_until_the_device_wakes_or_it_is_cancelled(Scheduling scheduling) => Run(scheduling, () =>
    {
        PIRP held = default;
        Other = (device, irp) =>
        {
            if (IoGetCurrentIrpStackLocation(irp).MinorFunction != IRP_MN_WAIT_WAKE) return Passing("?")(device, irp);
            Step(Describe(IoGetCurrentIrpStackLocation(irp)));
            held = irp;
            IoMarkIrpPending(irp);
            IoSetCancelRoutine(irp, (_, cancelled) =>
            {
                IoReleaseCancelSpinLock(cancelled.CancelIrql);
                Complete(cancelled, STATUS_CANCELLED);
            });
            return STATUS_PENDING;
        };
        DeviceNode node = Started();
        Noted();
        Assert.Equal(STATUS_PENDING, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_WAIT_WAKE, S(3), Callback(), default, out PIRP packet));
        Assert.Equal(held, packet);
        Assert.Equal(STATUS_SUCCESS, Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3));
        Assert.True(IoCancelIrp(packet));
        Assert.Equal(["wait S3", "? query S3", "? set S3", "callback 0 PowerDeviceD3 0 STATUS_CANCELLED"], Noted());
        Machine.Power.Wake();
        Noted();

        Assert.Equal(STATUS_PENDING, PoRequestPowerIrp(node.PhysicalDevice, IRP_MN_WAIT_WAKE, S(1), Callback(_ => Step(PoGetSystemWake(held) ? "woke the system" : "did not")), default, default(PVOID)));
        IoSetCancelRoutine(held, null);
        Assert.False(PoGetSystemWake(held));
        PoSetSystemWake(held);
        Complete(held, STATUS_SUCCESS);
        Assert.Equal(["wait S1", "callback 0 PowerDeviceD1 0 STATUS_SUCCESS", "woke the system"], Noted());
    });

    // ---- What stops the machine

    [Fact]
    public void A_request_that_nobody_answers_stops_the_machine()
    {
        PIRP held = default;
        PDEVICE_OBJECT device = default;
        BugCheckReport report = Stops(DRIVER_POWER_STATE_FAILURE, () =>
        {
            Other = (_, irp) =>
            {
                held = irp;
                IoMarkIrpPending(irp);
                return STATUS_PENDING;
            };
            DeviceNode node = Started();
            device = node.PhysicalDevice;
            Assert.Equal(TimeSpan.FromMinutes(10), Machine.PowerIrps.Timeout);
            Machine.PowerIrps.Timeout = TimeSpan.FromSeconds(1);
            Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3);
        });
        Assert.Equal((3ul, device.Address, held.Address), (report.Parameter1, report.Parameter2, report.Parameter4));
        Assert.Contains("more than 1 s", report.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void A_device_must_not_be_deleted_with_a_power_request()
    {
        BugCheckReport report = Stops(DRIVER_POWER_STATE_FAILURE, () =>
        {
            Other = (_, irp) =>
            {
                IoMarkIrpPending(irp);
                return STATUS_PENDING;
            };
            DeviceNode node = Started();
            PDEVICE_OBJECT device = IoGetAttachedDevice(node.PhysicalDevice);
            PoRequestPowerIrp(device, IRP_MN_SET_POWER, D(3), null, default, default(PVOID));
            IoDetachDevice(node.PhysicalDevice);
            IoDeleteDevice(device);
        });
        Assert.Equal(1u, report.Parameter1);
    }

    // ---- Power states, idle detection, settings

    [Fact]
    public void The_power_manager_is_told_of_states_and_gives_back_the_one_before() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS));
        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceUnspecified, PoSetPowerState(device, POWER_STATE_TYPE.DevicePowerState, D(0)).DeviceState);
        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceD0, PoSetPowerState(device, POWER_STATE_TYPE.DevicePowerState, D(3)).DeviceState);
        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceD3, PowerIrps.StateOf(device));
    });

    [Fact]
    public void An_idle_device_is_set_to_sleep() => Run(Scheduling.Controlled, () =>
    {
        Other = Passing("function");
        DeviceNode node = Started();
        PDEVICE_OBJECT device = IoGetAttachedDevice(node.PhysicalDevice);
        PoSetPowerState(device, POWER_STATE_TYPE.DevicePowerState, D(0));
        Noted();
        PULONG counter = PoRegisterDeviceForIdleDetection(device, 100, 3, DEVICE_POWER_STATE.PowerDeviceD2);
        Assert.False(counter.IsNull);
        Sleep(2.5);
        PoSetDeviceBusyEx(counter);
        Sleep(2.4);
        Assert.Empty(Noted());
        PoSetDeviceBusy(counter);
        Sleep(4);
        Assert.Equal(["function set D2"], Noted());

        Assert.True(PoRegisterDeviceForIdleDetection(device, 0, 0, DEVICE_POWER_STATE.PowerDeviceD2).IsNull);
        Sleep(10);
        Assert.Empty(Noted());
        Assert.True(PoRegisterDeviceForIdleDetection(device, uint.MaxValue, 5, DEVICE_POWER_STATE.PowerDeviceD2).IsNull);
    });

    void Sleep(double seconds) => KeDelayExecutionThread(KernelMode, false, -(long)(seconds * 10_000_000));

    [Fact]
    public void Registrations_say_what_keeps_the_system_awake() => Run(() =>
    {
        PVOID state = PoRegisterSystemState(default, ES_SYSTEM_REQUIRED | ES_CONTINUOUS);
        Assert.Equal(ES_SYSTEM_REQUIRED | ES_CONTINUOUS, Machine.Power.BusyFlags);
        Assert.Equal(state, PoRegisterSystemState(state, ES_DISPLAY_REQUIRED));
        Assert.Equal(ES_DISPLAY_REQUIRED, Machine.Power.BusyFlags);
        PoUnregisterSystemState(state);
        PoSetSystemState(ES_USER_PRESENT);
        Assert.Equal(0u, Machine.Power.BusyFlags);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_setting_is_told_at_once_and_when_it_changes(Scheduling scheduling) => Run(scheduling, () =>
    {
        POWER_SETTING_CALLBACK callback = (setting, value, length, context) =>
        {
            Assert.Equal((GUID_ACDC_POWER_SOURCE, 4u, 9ul), (GuestMemory.Ref<Guid>(setting.Address), length, context.Address));
            Step($"{GuestMemory.Ref<int>(value.Address)}");
            return STATUS_SUCCESS;
        };
        PVOID variable = Memory(8);
        Assert.Equal(STATUS_SUCCESS, PoRegisterPowerSettingCallback(default, GUID_ACDC_POWER_SOURCE, Machine.Code.Routine(callback), new PVOID(9), variable));
        Machine.PowerSettings.Set(GUID_ACDC_POWER_SOURCE, BitConverter.GetBytes(1));
        PVOID registration = GuestMemory.Ref<PVOID>(variable.Address);
        Assert.Equal(STATUS_SUCCESS, PoUnregisterPowerSettingCallback(registration));
        Machine.PowerSettings.Set(GUID_ACDC_POWER_SOURCE, BitConverter.GetBytes(0));
        Assert.Equal(STATUS_INVALID_PARAMETER, PoUnregisterPowerSettingCallback(registration));

        Assert.Equal(["0", "1"], Noted());
    });
}
