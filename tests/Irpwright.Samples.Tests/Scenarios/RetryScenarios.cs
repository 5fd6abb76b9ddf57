using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class RetryScenarios
{
    [SampleScenario("retry", FreeRunning = true)]
    public static void A_read_that_succeeds_is_sent_once(SampleRun run)
    {
        var device = new ScriptedDevice();
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, 512), handle.Read(new byte[512], 1024));

        Assert.Equal(["read 512 bytes at 1024"], device.Requests.Select(r => r.ToString()));
    }

    [SampleScenario("retry", FreeRunning = true)]
    public static void A_read_that_fails_is_sent_again_until_it_succeeds(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(STATUS_DEVICE_NOT_READY), Respond.Now(STATUS_IO_DEVICE_ERROR), Respond.Now(data: new byte[] { 1, 2 }));
        using DeviceHandle handle = run.Open(device);
        byte[] buffer = new byte[2];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 2), handle.Read(buffer, 6));

        Assert.Equal([1, 2], buffer);
        Assert.Equal(Enumerable.Repeat("read 2 bytes at 6", 3), device.Requests.Select(r => r.ToString()));
    }

    [SampleScenario("retry", FreeRunning = true)]
    public static void After_three_retries_the_error_counts(SampleRun run)
    {
        var device = new ScriptedDevice { Otherwise = Fails };
        using DeviceHandle handle = run.Open(device);

        IoOperation read = handle.StartRead(new byte[2]);

        Assert.Equal(STATUS_PENDING, read.InitialStatus);
        Assert.Equal(new IoResult(STATUS_IO_DEVICE_ERROR, 0), read.Wait());
        Assert.Equal(4, device.Requests.Count);

        static Response Fails(ScriptedRequest request) =>
            Respond.Now(request.MajorFunction == IRP_MJ_READ ? STATUS_IO_DEVICE_ERROR : STATUS_SUCCESS);
    }

    [SampleScenario("retry", FreeRunning = true)]
    public static void Retries_work_in_dpcs(SampleRun run)
    {
        var device = new ScriptedDevice();
        TimeSpan delay = TimeSpan.FromMilliseconds(1);
        device.Enqueue(Respond.After(delay, STATUS_DEVICE_NOT_READY), Respond.After(delay, STATUS_DEVICE_NOT_READY), Respond.After(delay));
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, 100), handle.Write(new byte[100]));

        Assert.Equal(3, device.Requests.Count);
    }

    [SampleScenario("retry")]
    public static void A_retry_may_end_in_another_way_than_the_first_try(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(1), STATUS_DEVICE_NOT_READY), Respond.PendingInline(STATUS_DEVICE_NOT_READY), Respond.Now());
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Read(new byte[1]));
    }

    [SampleScenario("retry")]
    public static void Every_try_writes_the_same_data(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(STATUS_DEVICE_NOT_READY), Respond.Now(STATUS_DEVICE_NOT_READY));
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Write(new byte[] { 1, 2, 3 }, 9));

        Assert.All(device.Requests, r => Assert.Equal([1, 2, 3], r.Data.ToArray()));
    }

    [SampleScenario("retry")]
    public static void A_warning_is_an_answer(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(STATUS_BUFFER_OVERFLOW, 1));
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_BUFFER_OVERFLOW, 1), handle.Read(new byte[2]));

        Assert.Single(device.Requests);
    }

    [SampleScenario("retry")]
    public static void A_cancelled_request_is_not_retried(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(STATUS_DEVICE_NOT_READY), Respond.WhenTold());
        using DeviceHandle handle = run.Open(device);

        IoOperation read = handle.StartRead(new byte[2]);
        Assert.True(read.Cancel());

        Assert.Equal(new IoResult(STATUS_CANCELLED, 0), read.Wait());
        Assert.Equal(2, device.Requests.Count);
    }

    [SampleScenario("retry")]
    public static void Other_requests_are_passed_down_once(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(STATUS_DEVICE_NOT_READY), Respond.Now(STATUS_DEVICE_NOT_READY));
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(STATUS_DEVICE_NOT_READY, handle.Flush().Status);
        Assert.Equal(STATUS_DEVICE_NOT_READY, handle.Control(IOCTL_DISK_IS_WRITABLE).Status);

        Assert.Equal(2, device.Requests.Count);
    }
}
