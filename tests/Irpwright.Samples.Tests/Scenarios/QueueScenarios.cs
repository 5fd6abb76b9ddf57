using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class QueueScenarios
{
    const int Size = 0x10000;

    static byte[] Pattern { get; } = [.. Enumerable.Range(0, Size).Select(i => (byte)(i ^ (i >> 8)))];

    [SampleScenario("queue", FreeRunning = true)]
    public static void A_read_returns_the_pattern(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        byte[] buffer = new byte[1000];

        IoOperation read = handle.StartRead(buffer, 4321);

        Assert.Equal(STATUS_PENDING, read.InitialStatus);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 1000), read.Wait());
        Assert.Equal(Pattern[4321..5321], buffer);
    }

    [SampleScenario("queue", FreeRunning = true)]
    public static void What_was_written_is_read(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        byte[] buffer = new byte[4];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 2), handle.Write(new byte[] { 0xAA, 0xBB }, 1));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 4), handle.Read(buffer));

        Assert.Equal([Pattern[0], 0xAA, 0xBB, Pattern[3]], buffer);
    }

    [SampleScenario("queue")]
    public static void One_request_is_completed_every_ten_milliseconds(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        long start = run.Machine.Scheduler.InterruptTime;
        IoOperation[] reads = [.. Enumerable.Range(0, 3).Select(i => handle.StartRead(new byte[1], i))];
        for (int i = 0; i < reads.Length; i++)
        {
            Assert.Equal(new IoResult(STATUS_SUCCESS, 1), reads[i].Wait());
            Assert.Equal(TimeSpan.FromMilliseconds(10 * (i + 1)).Ticks, run.Machine.Scheduler.InterruptTime - start);
        }
    }

    [SampleScenario("queue", FreeRunning = true)]
    public static void Transfers_end_at_the_end_of_the_store(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        byte[] buffer = new byte[10];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Read(buffer, Size - 3));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Write(buffer, Size - 3));
        Assert.Equal(new IoResult(STATUS_END_OF_FILE, 0), handle.Read(buffer, Size));
        Assert.Equal(new IoResult(STATUS_DISK_FULL, 0), handle.Write(buffer, Size));
        Assert.Equal(new IoResult(STATUS_INVALID_PARAMETER, 0), handle.Read(buffer, -1));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Read(Array.Empty<byte>(), Size));
        Assert.Equal(new IoResult(STATUS_INVALID_DEVICE_REQUEST, 0), handle.Flush());
    }

    [SampleScenario("queue")]
    public static void A_queued_request_can_be_cancelled_and_the_others_are_served(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        IoOperation[] reads = [.. Enumerable.Range(0, 4).Select(i => handle.StartRead(new byte[1], i))];

        Assert.True(reads[0].Cancel());
        Assert.True(reads[2].Cancel());

        Assert.Equal(
            [STATUS_CANCELLED, STATUS_SUCCESS, STATUS_CANCELLED, STATUS_SUCCESS], reads.Select(r => r.Wait().Status));
    }

    [SampleScenario("queue")]
    public static void A_request_that_is_over_cannot_be_cancelled(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        IoOperation read = handle.StartRead(new byte[1]);
        read.Wait();

        Assert.False(read.Cancel());
    }

    [SampleScenario("queue")]
    public static void Closing_a_handle_cancels_its_requests_and_no_others(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        IoOperation mine = handle.StartRead(new byte[1]);
        DeviceHandle other = DeviceHandle.Open(run.Machine, @"\\.\Queue0");
        IoOperation[] theirs = [.. Enumerable.Range(0, 3).Select(_ => other.StartRead(new byte[1]))];

        other.Dispose();

        Assert.All(theirs, r => Assert.Equal(STATUS_CANCELLED, r.Wait().Status));
        Assert.Equal(STATUS_SUCCESS, mine.Wait().Status);
    }
}
