using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class StartIoScenarios
{
    const int BlockSize = BlockDevice.BlockSize;

    static DeviceHandle Open(SampleRun run, out BlockDevice device)
    {
        device = new BlockDevice(run.Machine);
        return run.Open();
    }

    [SampleScenario("startio", FreeRunning = true)]
    public static void A_read_is_answered_by_the_device(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out _);
        byte[] buffer = new byte[3 * BlockSize];

        IoOperation read = handle.StartRead(buffer, 5 * BlockSize);

        Assert.Equal(STATUS_PENDING, read.InitialStatus);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 3 * BlockSize), read.Wait());
        Assert.Equal([.. Enumerable.Repeat((byte)5, BlockSize), .. Enumerable.Repeat((byte)6, BlockSize), .. Enumerable.Repeat((byte)7, BlockSize)], buffer);
    }

    [SampleScenario("startio", FreeRunning = true)]
    public static void What_was_written_is_in_the_device_and_is_read(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out BlockDevice device);
        byte[] written = [.. Enumerable.Range(0, 2 * BlockSize).Select(i => (byte)(i * 7))];
        byte[] buffer = new byte[2 * BlockSize];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 2 * BlockSize), handle.Write(written, BlockSize));
        Assert.Equal(written, device.Store[BlockSize..(3 * BlockSize)]);
        Assert.Equal(3, device.Store[3 * BlockSize]);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 2 * BlockSize), handle.Read(buffer, BlockSize));

        Assert.Equal(written, buffer);
    }

    [SampleScenario("startio")]
    public static void Requests_are_served_one_after_the_other(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out _);
        byte[][] buffers = [.. Enumerable.Range(0, 4).Select(_ => new byte[BlockSize])];
        IoOperation[] reads = [.. buffers.Select((b, i) => handle.StartRead(b, i * BlockSize))];
        long start = run.Machine.Scheduler.InterruptTime;
        foreach (IoOperation read in reads) Assert.Equal(STATUS_SUCCESS, read.Wait().Status);

        Assert.Equal([0, 1, 2, 3], buffers.Select(b => b[^1]));
        Assert.InRange(run.Machine.Scheduler.InterruptTime - start, 3 * BlockDevice.Latency.Ticks, long.MaxValue);
    }

    [SampleScenario("startio")]
    public static void A_waiting_request_can_be_cancelled_the_one_at_the_device_cannot(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out _);
        IoOperation[] reads = [.. Enumerable.Range(0, 4).Select(i => handle.StartRead(new byte[BlockSize], i * BlockSize))];

        reads[0].Cancel();
        Assert.True(reads[2].Cancel());

        Assert.Equal([STATUS_SUCCESS, STATUS_SUCCESS, STATUS_CANCELLED, STATUS_SUCCESS], reads.Select(r => r.Wait().Status));
    }

    [SampleScenario("startio", FreeRunning = true)]
    public static void A_block_that_is_not_there_fails_with_what_came_before(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out _);
        byte[] buffer = new byte[3 * BlockSize];

        Assert.Equal(new IoResult(STATUS_IO_DEVICE_ERROR, BlockSize), handle.Read(buffer, (BlockDevice.BlockCount - 1) * BlockSize));
        Assert.Equal(new IoResult(STATUS_SUCCESS, BlockSize), handle.Read(new byte[BlockSize]));
    }

    [SampleScenario("startio", FreeRunning = true)]
    public static void Only_whole_blocks_are_transferred(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out _);

        Assert.Equal(new IoResult(STATUS_INVALID_PARAMETER, 0), handle.Read(new byte[BlockSize], 1));
        Assert.Equal(new IoResult(STATUS_INVALID_PARAMETER, 0), handle.Read(new byte[BlockSize], -BlockSize));
        Assert.Equal(new IoResult(STATUS_INVALID_PARAMETER, 0), handle.Write(new byte[100]));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Read(Array.Empty<byte>()));
    }

    [SampleScenario("startio", FreeRunning = true)]
    public static void Many_threads_share_the_device(SampleRun run)
    {
        using DeviceHandle handle = Open(run, out _);
        const int threads = 3, rounds = 8;
        int done = 0;
        for (int t = 0; t < threads; t++)
        {
            int block = t;
            run.Machine.Scheduler.Start($"reader {t}", Kernel.ThreadKind.User, () =>
            {
                byte[] buffer = new byte[BlockSize];
                for (int i = 0; i < rounds; i++)
                {
                    Assert.Equal(STATUS_SUCCESS, handle.Read(buffer, block * BlockSize).Status);
                    Assert.Equal(block, buffer[i]);
                }
                Interlocked.Increment(ref done);
            });
        }
        while (Volatile.Read(ref done) < threads) Assert.Equal(STATUS_SUCCESS, handle.Read(new byte[BlockSize]).Status);
    }
}
