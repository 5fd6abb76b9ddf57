using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing.Tests;

/// <summary>Goal: a scripted device answers exactly as told. Method: requests through a handle, also through a filter.</summary>
public sealed class ScriptedDeviceTests : IDisposable
{
    readonly Machine machine = new();
    readonly ScriptedDevice device = new();

    public void Dispose() => machine.Dispose();

    DeviceStack Build(params ReadOnlySpan<StackDriver> filters) => DeviceStack.Build(machine, [device, .. filters]);

    [Fact]
    public void Answers_come_in_the_order_of_the_script_and_then_by_default()
    {
        device.Enqueue(Respond.Now(STATUS_DEVICE_NOT_READY), Respond.Now(data: new byte[] { 1, 2, 3 }));
        device.Otherwise = request => Respond.Now(request.MajorFunction == IRP_MJ_WRITE ? STATUS_DISK_FULL : STATUS_SUCCESS);
        using DeviceHandle handle = Build().Open();
        byte[] buffer = new byte[4];

        Assert.Equal(new IoResult(STATUS_DEVICE_NOT_READY, 0), handle.Read(buffer));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Read(buffer));
        Assert.Equal([1, 2, 3, 0], buffer);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 4), handle.Read(buffer));
        Assert.Equal(new IoResult(STATUS_DISK_FULL, 0), handle.Write(new byte[] { 9 }));
    }

    [Fact]
    public void Requests_are_remembered()
    {
        using DeviceHandle handle = Build().Open();
        handle.Read(new byte[512], 1024);
        handle.Write(new byte[] { 7, 8 }, 3);
        handle.Control(0x0022A000, new byte[] { 5 }, new byte[9]);

        Assert.Equal(["read 512 bytes at 1024", "write 2 bytes at 3", "control 0x0022A000"], device.Requests.Select(r => r.ToString()));
        Assert.Equal([7, 8], device.Requests[1].Data.ToArray());
        Assert.Equal([5], device.Requests[2].Data.ToArray());
        Assert.All(device.Requests, r => Assert.Equal(STATUS_SUCCESS, r.Status));
    }

    [Theory]
    [InlineData(DO_DIRECT_IO)]
    [InlineData(DO_BUFFERED_IO)]
    [InlineData((DO_FLAGS)0)]
    public void Data_travels_by_every_buffering_method(DO_FLAGS buffering)
    {
        var scripted = new ScriptedDevice { Buffering = buffering };
        scripted.Enqueue(Respond.Now(data: new byte[] { 1, 2, 3, 4, 5 }));
        using DeviceHandle handle = DeviceStack.Build(machine, scripted, new PassThrough()).Open();
        byte[] buffer = new byte[3];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Read(buffer));
        handle.Write(new byte[] { 6, 7 });

        Assert.Equal([1, 2, 3], buffer);
        Assert.Equal([6, 7], scripted.Requests[1].Data.ToArray());
    }

    [Theory]
    [InlineData(METHOD_BUFFERED)]
    [InlineData(METHOD_OUT_DIRECT)]
    [InlineData(METHOD_NEITHER)]
    public void Control_requests_travel_by_every_transfer_method(uint method)
    {
        device.Enqueue(Respond.Now(data: new byte[] { 1, 2 }));
        using DeviceHandle handle = Build().Open();
        byte[] output = new byte[2];
        uint code = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, method, FILE_ANY_ACCESS);

        Assert.Equal(new IoResult(STATUS_SUCCESS, 2), handle.Control(code, new byte[] { 3 }, output));

        Assert.Equal([1, 2], output);
        Assert.Equal([3], device.Requests[0].Data.ToArray());
    }

    [Fact]
    public void A_delayed_answer_comes_from_a_dpc_after_its_time()
    {
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(20), STATUS_BUFFER_OVERFLOW, 5));
        DeviceStack stack = Build(new PassThrough());
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            long before = machine.Scheduler.InterruptTime;
            IoOperation read = handle.StartRead(new byte[8]);
            Assert.Equal(STATUS_PENDING, read.InitialStatus);
            Assert.Equal(new IoResult(STATUS_BUFFER_OVERFLOW, 5), read.Wait());
            Assert.Equal(TimeSpan.FromMilliseconds(20).Ticks, machine.Scheduler.InterruptTime - before);
        });
    }

    [Fact]
    public void Delayed_answers_may_overtake_each_other()
    {
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(2)), Respond.After(TimeSpan.FromMilliseconds(1)));
        DeviceStack stack = Build();
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            IoOperation slow = handle.StartRead(new byte[1]);
            IoOperation fast = handle.StartRead(new byte[1]);
            fast.Wait();
            Assert.False(slow.IsOver);
            slow.Wait();
        });
    }

    [Fact]
    public void A_held_request_is_completed_when_the_test_says_so()
    {
        HeldResponse held = Respond.WhenTold();
        device.Enqueue(held);
        DeviceStack stack = Build(new PassThrough());
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            Assert.Throws<InvalidOperationException>(() => held.Complete());
            byte[] buffer = new byte[2];
            IoOperation read = handle.StartRead(buffer);
            Assert.False(read.IsOver);
            Assert.Equal(2u, held.WaitForRequest(machine).Length);
            Assert.True(held.Complete(data: new byte[] { 4, 2 }));
            Assert.Equal(new IoResult(STATUS_SUCCESS, 2), read.Wait());
            Assert.Equal([4, 2], buffer);
            Assert.False(held.Complete());
        });
    }

    [Fact]
    public async Task A_held_request_can_be_completed_from_outside_the_machine()
    {
        HeldResponse held = Respond.WhenTold();
        using var freeRunning = new Machine(new MachineOptions { Strategy = null });
        var scripted = new ScriptedDevice();
        scripted.Enqueue(held);
        using DeviceHandle handle = DeviceStack.Build(freeRunning, scripted).Open();
        Task<IoResult> read = handle.ReadAsync(new byte[6], cancellationToken: TestContext.Current.CancellationToken).AsTask();
        freeRunning.Run(() => held.WaitForRequest(freeRunning));
        Assert.True(held.Complete());
        Assert.Equal(new IoResult(STATUS_SUCCESS, 6), await read);
    }

    [Fact]
    public void A_held_request_can_be_cancelled()
    {
        HeldResponse held = Respond.WhenTold();
        device.Enqueue(held);
        DeviceStack stack = Build(new PassThrough());
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            IoOperation read = handle.StartRead(new byte[2]);
            Assert.True(read.Cancel());
            Assert.Equal(new IoResult(STATUS_CANCELLED, 0), read.Wait());
            Assert.Equal(STATUS_CANCELLED, held.Request!.Status);
            Assert.False(held.Complete());
        });
    }

    [Fact]
    public void A_delayed_request_that_is_cancelled_is_not_completed_again()
    {
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(1)), Respond.After(TimeSpan.FromMilliseconds(5)));
        DeviceStack stack = Build();
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            IoOperation first = handle.StartRead(new byte[2]);
            first.Cancel();
            Assert.Equal(STATUS_CANCELLED, first.Wait().Status);
            // Its packet is reused for the next request, which the first one's interrupt must leave alone.
            Assert.Equal(new IoResult(STATUS_SUCCESS, 2), handle.StartRead(new byte[2]).Wait());
        });
    }

    [Fact]
    public void A_device_may_ignore_cancellation()
    {
        HeldResponse held = Respond.WhenTold(cancellable: false);
        device.Enqueue(held);
        DeviceStack stack = Build();
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            IoOperation read = handle.StartRead(new byte[2]);
            read.Cancel();
            Assert.False(read.IsOver);
            Assert.True(held.Complete(STATUS_SUCCESS, 1));
            Assert.Equal(new IoResult(STATUS_SUCCESS, 1), read.Wait());
        });
    }

    [Fact]
    public void Closing_the_handle_cancels_what_it_left_behind()
    {
        device.Enqueue(Respond.WhenTold());
        DeviceStack stack = Build(new PassThrough());
        machine.Run(() =>
        {
            DeviceHandle handle = stack.Open();
            IoOperation read = handle.StartRead(new byte[2]);
            handle.Dispose();
            Assert.Equal(STATUS_CANCELLED, read.Wait().Status);
        });
    }

    [Fact]
    public void A_pending_answer_may_be_completed_inline()
    {
        device.Enqueue(Respond.PendingInline(STATUS_IO_DEVICE_ERROR));
        DeviceStack stack = Build(new PassThrough());
        machine.Run(() =>
        {
            using DeviceHandle handle = stack.Open();
            IoOperation read = handle.StartRead(new byte[2]);
            Assert.Equal(STATUS_PENDING, read.InitialStatus);
            Assert.Equal(STATUS_IO_DEVICE_ERROR, read.Wait().Status);
        });
    }
}
