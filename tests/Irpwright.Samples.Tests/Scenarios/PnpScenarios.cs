using System.Buffers.Binary;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class PnpScenarios
{
    static readonly IoResult Done = new(STATUS_SUCCESS, 0);

    static DeviceHandle Started(DeviceStack device)
    {
        Assert.Equal(STATUS_SUCCESS, device.Start());
        return device.Open();
    }

    static byte[] Serial(uint number)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, number);
        return bytes;
    }

    // ---- pnpfunc

    [SampleScenario("pnpfunc", FreeRunning = true)]
    public static void A_started_device_stores_what_is_written(SampleRun run)
    {
        using DeviceHandle handle = Started(run.Build(run.Driver()));
        byte[] buffer = new byte[3];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Write(new byte[] { 1, 2, 3 }, 4093));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Read(buffer, 4093));

        Assert.Equal([1, 2, 3], buffer);
        Assert.Equal(STATUS_INVALID_PARAMETER, handle.Read(buffer, 4094).Status);
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, handle.Control(IOCTL_DISK_IS_WRITABLE).Status);
    }

    [SampleScenario("pnpfunc", FreeRunning = true)]
    public static void A_stopped_device_answers_again_after_its_restart(SampleRun run)
    {
        DeviceStack device = run.Build(run.Driver());
        using DeviceHandle handle = Started(device);
        handle.Write(new byte[] { 7 });

        Assert.Equal(STATUS_SUCCESS, device.Stop());
        Assert.Equal(STATUS_DEVICE_NOT_READY, handle.Read(new byte[1]).Status);
        Assert.Equal(STATUS_SUCCESS, device.Start());

        byte[] buffer = new byte[1];
        Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Read(buffer));
        Assert.Equal([7], buffer);
    }

    [SampleScenario("pnpfunc", FreeRunning = true)]
    public static void A_device_with_waiting_requests_refuses_to_stop(SampleRun run)
    {
        DeviceStack device = run.Build(run.Driver());
        using DeviceHandle handle = Started(device);
        IoOperation first = handle.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT), second = handle.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT);
        Assert.Equal((STATUS_PENDING, STATUS_PENDING), (first.InitialStatus, second.InitialStatus));

        Assert.Equal(STATUS_DEVICE_BUSY, device.QueryStop());
        Assert.True(second.Cancel());
        Assert.Equal(STATUS_CANCELLED, second.Wait().Status);
        Assert.Equal(Done, handle.Control(PnpFunc.IOCTL_PNPFUNC_WAKE));

        Assert.Equal(Done, first.Wait());
        Assert.Equal(STATUS_SUCCESS, device.QueryStop());
        device.CancelStop();
    }

    [SampleScenario("pnpfunc", FreeRunning = true)]
    public static void The_device_follows_the_system_to_sleep_and_back(SampleRun run)
    {
        DeviceStack device = run.Build(run.Driver());
        using DeviceHandle handle = Started(device);

        Assert.Equal(STATUS_SUCCESS, run.Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3));
        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceD3, PowerIrps.StateOf(device.Top));
        Assert.Equal(STATUS_DEVICE_POWERED_OFF, handle.Read(new byte[1]).Status);
        run.Machine.Power.Wake();

        Assert.Equal(DEVICE_POWER_STATE.PowerDeviceD0, PowerIrps.StateOf(device.Top));
        Assert.Equal(STATUS_SUCCESS, handle.Read(new byte[1]).Status);
    }

    [SampleScenario("pnpfunc", FreeRunning = true)]
    public static void Surprise_removal_ends_what_is_outstanding(SampleRun run)
    {
        DeviceStack device = run.Build(run.Driver());
        DeviceHandle handle = Started(device);
        IoOperation waiting = handle.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT);
        Assert.Single(run.Machine.DeviceInterfaces.Enabled(PnpFunc.FUNC_INTERFACE));

        device.SurpriseRemove();

        Assert.Equal(STATUS_DEVICE_REMOVED, waiting.Wait().Status);
        Assert.Equal(STATUS_DEVICE_REMOVED, handle.Read(new byte[1]).Status);
        Assert.Empty(run.Machine.DeviceInterfaces.Enabled(PnpFunc.FUNC_INTERFACE));
        Assert.Equal(DeviceNodeState.SurpriseRemoved, device.Node.State);
        handle.Dispose();
        run.Machine.PlugAndPlay.Settle();
        Assert.Equal(DeviceNodeState.Deleted, device.Node.State);
    }

    [SampleScenario("pnpfunc", FreeRunning = true)]
    public static void A_removal_can_be_cancelled(SampleRun run)
    {
        DeviceStack device = run.Build(run.Driver());
        Started(device).Dispose();

        Assert.Equal(STATUS_SUCCESS, device.QueryRemove());
        Assert.Throws<IOException>(() => device.Open());
        device.CancelRemove();

        device.Open().Dispose();
    }

    // ---- pnpfilter

    [SampleScenario("pnpfilter", FreeRunning = true)]
    public static void The_filter_counts_what_comes_back(SampleRun run)
    {
        DeviceStack device = run.Build(new PnpFunc(), run.Driver());
        using DeviceHandle handle = Started(device);
        handle.Write(new byte[] { 1 });
        IoOperation waiting = handle.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT);
        byte[] count = new byte[4];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 4), handle.Control(PnpFilter.IOCTL_PNPFILTER_COUNT, output: count));
        Assert.Equal([2, 0, 0, 0], count); // the open and the write
        handle.Control(PnpFunc.IOCTL_PNPFUNC_WAKE);
        waiting.Wait();

        Assert.Equal(new IoResult(STATUS_SUCCESS, 4), handle.Control(PnpFilter.IOCTL_PNPFILTER_COUNT, output: count));
        Assert.Equal([4, 0, 0, 0], count);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, handle.Control(PnpFilter.IOCTL_PNPFILTER_COUNT).Status);
    }

    [SampleScenario("pnpfilter", FreeRunning = true)]
    public static void The_filter_takes_part_in_every_state(SampleRun run)
    {
        DeviceStack device = run.Build(new PnpFunc(), run.Driver());
        DeviceHandle handle = Started(device);
        IoOperation waiting = handle.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT);
        Assert.Equal(STATUS_DEVICE_BUSY, device.Stop());
        handle.Control(PnpFunc.IOCTL_PNPFUNC_WAKE);
        waiting.Wait();
        Assert.Equal(STATUS_SUCCESS, device.Stop());
        Assert.Equal(STATUS_SUCCESS, device.Start());
        Assert.Equal(STATUS_SUCCESS, run.Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping1));
        run.Machine.Power.Wake();
        waiting = handle.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT);

        device.SurpriseRemove();

        Assert.Equal(STATUS_DEVICE_REMOVED, waiting.Wait().Status);
        handle.Dispose();
        run.Machine.PlugAndPlay.Settle();
    }

    // ---- pnpbus, and all three together

    static DeviceStack Bus(SampleRun run, DriverService function)
    {
        run.Machine.PlugAndPlay.Install(@"PNPBUS\Child", new DeviceInstallation { Function = function, UpperFilters = [run.Service("pnpfilter")] });
        return run.Build(run.Driver());
    }

    [SampleScenario("pnpbus", FreeRunning = true)]
    public static void Devices_come_and_go(SampleRun run)
    {
        DeviceStack bus = Bus(run, run.Service("pnpfunc"));
        using DeviceHandle control = Started(bus);

        Assert.Equal(Done, control.Control(PnpBus.IOCTL_PNPBUS_PLUG, Serial(0x1A)));
        Assert.Equal(Done, control.Control(PnpBus.IOCTL_PNPBUS_PLUG, Serial(2)));
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, control.Control(PnpBus.IOCTL_PNPBUS_PLUG, Serial(2)).Status);
        run.Machine.PlugAndPlay.Settle();

        Assert.Equal([(@"PNPBUS\Child", DeviceNodeState.Started), (@"PNPBUS\Child", DeviceNodeState.Started)], bus.Node.Children.Select(c => (c.DeviceId, c.State)));
        Assert.EndsWith("0000001A", bus.Node.Children[0].InstanceId, StringComparison.Ordinal);
        Assert.Equal("A device on the sample bus", bus.Node.Children[0].Description);
        Assert.Equal(["pnpfunc", "pnpfilter"], bus.Node.Children[0].Drivers.Select(d => d.Name));

        Assert.Equal(Done, control.Control(PnpBus.IOCTL_PNPBUS_UNPLUG, Serial(0x1A)));
        Assert.Equal(STATUS_NO_SUCH_DEVICE, control.Control(PnpBus.IOCTL_PNPBUS_UNPLUG, Serial(0x1A)).Status);
        run.Machine.PlugAndPlay.Settle();
        Assert.Single(bus.Node.Children);
    }

    [SampleScenario("pnpbus", FreeRunning = true)]
    public static void A_child_is_used_through_its_interface_and_pulled_out(SampleRun run)
    {
        DeviceStack bus = Bus(run, run.Service("pnpfunc"));
        using DeviceHandle control = Started(bus);
        control.Control(PnpBus.IOCTL_PNPBUS_PLUG, Serial(7));
        run.Machine.PlugAndPlay.Settle();
        DeviceHandle child = DeviceHandle.Open(run.Machine, Assert.Single(run.Machine.DeviceInterfaces.Enabled(PnpFunc.FUNC_INTERFACE)));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 2), child.Write(new byte[] { 4, 2 }));
        IoOperation waiting = child.StartControl(PnpFunc.IOCTL_PNPFUNC_WAIT);

        control.Control(PnpBus.IOCTL_PNPBUS_UNPLUG, Serial(7));
        run.Machine.PlugAndPlay.Settle();

        Assert.Equal(STATUS_DEVICE_REMOVED, waiting.Wait().Status);
        Assert.Equal(DeviceNodeState.SurpriseRemoved, Assert.Single(bus.Node.Children).State);
        child.Dispose();
        run.Machine.PlugAndPlay.Settle();
        Assert.Empty(bus.Node.Children);
    }

    [SampleScenario("pnpbus", FreeRunning = true)]
    public static void The_whole_tree_sleeps_stops_and_is_removed(SampleRun run)
    {
        // The bus and the filter in the form of this run, the function driver always in C#.
        DeviceStack bus = Bus(run, DriverService.Of(run.Machine, "function", () => new PnpFunc()));
        DeviceHandle control = Started(bus);
        control.Control(PnpBus.IOCTL_PNPBUS_PLUG, Serial(1));
        control.Control(PnpBus.IOCTL_PNPBUS_PLUG, Serial(2));
        run.Machine.PlugAndPlay.Settle();

        Assert.Equal(STATUS_SUCCESS, run.Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemHibernate));
        run.Machine.Power.Wake();
        Assert.Equal(STATUS_SUCCESS, bus.Stop());
        Assert.All(bus.Node.Children, child => Assert.Equal(DeviceNodeState.Stopped, child.State));
        Assert.Equal(STATUS_SUCCESS, bus.Start());
        Assert.All(bus.Node.Children, child => Assert.Equal(DeviceNodeState.Started, child.State));

        control.Dispose();
        bus.Remove();
        Assert.Empty(run.Machine.PlugAndPlay.Nodes);
    }
}
