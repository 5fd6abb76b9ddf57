using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing.Tests;

public class DeviceHandleTests
{
    static DeviceHandle Open(Machine machine, Func<Response> response) =>
        DeviceStack.Build(machine, new ScriptedDevice { Otherwise = request => request.MajorFunction == IRP_MJ_READ ? response() : Respond.Now() }, new PassThrough()).Open();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Cancelling_the_token_outside_of_the_machine_cancels_the_irp(bool freeRunning)
    {
        using var machine = new Machine(new MachineOptions { Strategy = freeRunning ? null : new FifoStrategy() });
        var device = new ScriptedDevice { Otherwise = request => request.MajorFunction == IRP_MJ_READ ? Respond.WhenTold() : Respond.Now() };
        using DeviceHandle handle = DeviceStack.Build(machine, device, new PassThrough()).Open();
        using var source = new CancellationTokenSource();
        ValueTask<IoResult> read = handle.ReadAsync(new byte[16], 0, source.Token);
        while (device.Requests.Count == 0) await Task.Delay(1, TestContext.Current.CancellationToken);
        Assert.False(read.IsCompleted);
        await source.CancelAsync();
        Assert.Equal(STATUS_CANCELLED, (await read).Status);
    }

    [Fact]
    public void Cancelling_the_token_inside_a_scenario_cancels_the_irp()
    {
        using var machine = new Machine();
        machine.RunAsync(async () =>
        {
            using DeviceHandle handle = Open(machine, () => Respond.WhenTold());
            using var source = new CancellationTokenSource();
            ValueTask<IoResult> read = handle.ReadAsync(new byte[16], 0, source.Token);
            Assert.False(read.IsCompleted);
            #pragma warning disable CA1849 // CancelAsync would cancel from a thread outside of the machine.
            source.Cancel();
#pragma warning restore CA1849
            Assert.Equal(STATUS_CANCELLED, (await read).Status);
        });
    }

    [Fact]
    public void Requests_that_are_started_together_overlap()
    {
        using var machine = new Machine();
        machine.RunAsync(async () =>
        {
            using DeviceHandle handle = Open(machine, () => Respond.After(TimeSpan.FromMilliseconds(10), data: new byte[] { 1, 2, 3 }));
            long start = machine.Scheduler.InterruptTime;
            ValueTask<IoResult> first = handle.ReadAsync(new byte[3]);
            ValueTask<IoResult> second = handle.ReadAsync(new byte[3]);
            Assert.Equal(new IoResult(STATUS_SUCCESS, 3), await first);
            Assert.Equal(new IoResult(STATUS_SUCCESS, 3), await second);
            Assert.Equal(TimeSpan.FromMilliseconds(10).Ticks, machine.Scheduler.InterruptTime - start);
        });
    }

    [Fact]
    public void A_request_that_nobody_completes_is_reported_and_does_not_hang()
    {
        using var machine = new Machine();
        DeviceHandle handle = Open(machine, () => Respond.WhenTold());
        MachineHungException hung = Assert.Throws<MachineHungException>(() => handle.Read(new byte[16]));
        Assert.Contains("waits for a request that no driver has completed", hung.Message);
    }

    [Fact]
    public void A_scenario_that_ends_with_requests_outstanding_has_them_cancelled()
    {
        using var machine = new Machine();
        var device = new ScriptedDevice { Otherwise = request => request.MajorFunction == IRP_MJ_READ ? Respond.WhenTold() : Respond.Now() };
        DeviceHandle handle = DeviceStack.Build(machine, device).Open();
        machine.Run(() => handle.StartRead(new byte[16]));
        Assert.Equal(STATUS_CANCELLED, device.Requests[^1].Status);
    }

    [Fact]
    public void Opening_a_device_that_does_not_exist_says_so()
    {
        using var machine = new Machine();
        IOException error = Assert.Throws<IOException>(() => DeviceHandle.Open(machine, @"\Device\Nothing"));
        Assert.Equal(@"\Device\Nothing cannot be opened: STATUS_OBJECT_NAME_NOT_FOUND.", error.Message);
    }

    [Fact]
    public void Test_code_may_take_its_time_between_requests()
    {
        using var machine = new Machine(new MachineOptions { Watchdog = TimeSpan.FromMilliseconds(300) });
        machine.Run(() => Thread.Sleep(1000));
    }
}
