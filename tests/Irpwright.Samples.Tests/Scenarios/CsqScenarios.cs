using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class CsqScenarios
{
    const int Limit = 4;

    [SampleScenario("csq", FreeRunning = true)]
    public static void A_read_waits_for_a_write(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        byte[] buffer = new byte[4];

        IoOperation read = handle.StartRead(buffer);
        Assert.Equal(STATUS_PENDING, read.InitialStatus);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Write(new byte[] { 1, 2, 3 }));

        Assert.Equal(new IoResult(STATUS_SUCCESS, 3), read.Wait());
        Assert.Equal([1, 2, 3, 0], buffer);
    }

    [SampleScenario("csq", FreeRunning = true)]
    public static void Writes_go_to_the_reads_in_order_and_fail_without_one(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        byte[][] buffers = [.. Enumerable.Range(0, 3).Select(_ => new byte[1])];
        IoOperation[] reads = [.. buffers.Select(b => handle.StartRead(b))];

        for (byte i = 0; i < 3; i++) Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Write(new byte[] { i, 99 }));

        Assert.Equal(new IoResult(STATUS_DEVICE_NOT_READY, 0), handle.Write(new byte[1]));
        Assert.All(reads, r => Assert.Equal(new IoResult(STATUS_SUCCESS, 1), r.Wait()));
        Assert.Equal([0, 1, 2], buffers.Select(b => b[0]));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Read(Array.Empty<byte>()));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Write(Array.Empty<byte>()));
    }

    [SampleScenario("csq", FreeRunning = true)]
    public static void The_queue_takes_four_reads(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        IoOperation[] reads = [.. Enumerable.Range(0, Limit).Select(_ => handle.StartRead(new byte[1]))];

        Assert.Equal(new IoResult(STATUS_DEVICE_BUSY, 0), handle.Read(new byte[1]));

        Assert.True(reads[0].Cancel());
        IoOperation another = handle.StartRead(new byte[1]);
        Assert.Equal(STATUS_PENDING, another.InitialStatus);
        foreach (IoOperation read in reads.Skip(1).Append(another)) read.Cancel();
        Assert.All(reads, r => Assert.Equal(STATUS_CANCELLED, r.Wait().Status));
        Assert.Equal(STATUS_CANCELLED, another.Wait().Status);
    }

    [SampleScenario("csq", FreeRunning = true)]
    public static void A_cancelled_read_is_passed_over(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        byte[] buffer = new byte[1];
        IoOperation first = handle.StartRead(new byte[1]), second = handle.StartRead(buffer);

        Assert.True(first.Cancel());
        Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Write(new byte[] { 7 }));

        Assert.Equal(new IoResult(STATUS_CANCELLED, 0), first.Wait());
        Assert.Equal(STATUS_SUCCESS, second.Wait().Status);
        Assert.Equal(7, buffer[0]);
        Assert.False(second.Cancel());
    }

    [SampleScenario("csq", FreeRunning = true)]
    public static void Closing_a_handle_cancels_its_reads_and_no_others(SampleRun run)
    {
        using DeviceHandle handle = run.Open();
        IoOperation mine = handle.StartRead(new byte[1]);
        DeviceHandle other = DeviceHandle.Open(run.Machine, @"\\.\Csq0");
        IoOperation[] theirs = [.. Enumerable.Range(0, 3).Select(_ => other.StartRead(new byte[1]))];

        other.Dispose();

        Assert.All(theirs, r => Assert.Equal(STATUS_CANCELLED, r.Wait().Status));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Write(new byte[1]));
        Assert.Equal(STATUS_SUCCESS, mine.Wait().Status);
    }
}
