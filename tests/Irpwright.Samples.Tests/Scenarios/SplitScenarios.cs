using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class SplitScenarios
{
    const int Piece = 0x4000;
    const int Three = 2 * Piece + 100;

    static readonly byte[] Content = MakeContent();

    static byte[] MakeContent()
    {
        byte[] content = new byte[20 * Piece];
        new Random(7).NextBytes(content);
        return content;
    }

    static Response FromContent(ScriptedRequest request) => request.MajorFunction == IRP_MJ_READ && request.Length > 0
        ? Respond.Now(data: Content.AsMemory((int)request.Offset, (int)request.Length)) : Respond.Now();

    [SampleScenario("split", FreeRunning = true)]
    public static void Direct_reads_of_every_size_are_right(SampleRun run) => ReadEverySize(run, DO_DIRECT_IO);

    [SampleScenario("split", FreeRunning = true)]
    public static void Buffered_reads_of_every_size_are_right(SampleRun run) => ReadEverySize(run, DO_BUFFERED_IO);

    [SampleScenario("split", FreeRunning = true)]
    public static void Reads_of_every_size_with_neither_method_are_right(SampleRun run) => ReadEverySize(run, 0);

    static void ReadEverySize(SampleRun run, DO_FLAGS buffering)
    {
        var device = new ScriptedDevice { Buffering = buffering, Otherwise = FromContent };
        using DeviceHandle handle = run.Open(device);
        (int Length, long Offset)[] transfers =
            [(0, 0), (1, 0), (511, 1), (Piece - 1, 3), (Piece, 512), (Piece + 1, 0), (2 * Piece, 77), (2 * Piece + 1, 4095), (100_001, 12345)];
        int seen = 0;
        foreach ((int length, long offset) in transfers)
        {
            byte[] buffer = new byte[length];

            Assert.Equal(new IoResult(STATUS_SUCCESS, (ulong)length), handle.Read(buffer, offset));

            Assert.Equal(Content[(int)offset..((int)offset + length)], buffer);
            Assert.Equal(Pieces(offset, length), device.Requests.Skip(seen).Select(r => (r.Offset, (int)r.Length)));
            seen = device.Requests.Count;
        }
    }

    static IEnumerable<(long, int)> Pieces(long offset, int length)
    {
        int done = 0;
        do
        {
            yield return (offset + done, Math.Min(Piece, length - done));
            done += Piece;
        }
        while (done < length);
    }

    [SampleScenario("split", FreeRunning = true)]
    public static void A_write_arrives_in_pieces(SampleRun run)
    {
        var device = new ScriptedDevice();
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, Three), handle.Write(Content.AsMemory(5, Three), 9));

        Assert.Equal(Pieces(9, Three), device.Requests.Select(r => (r.Offset, (int)r.Length)));
        Assert.Equal(Content[5..(5 + Three)], device.Requests.SelectMany(r => r.Data.ToArray()));
    }

    [SampleScenario("split", FreeRunning = true)]
    public static void A_files_bytes_come_back_whole(SampleRun run)
    {
        using var file = new TemporaryFile(Content);
        using DeviceHandle handle = run.Open(new FileDisk(file.Path) { Latency = TimeSpan.Zero });
        byte[] buffer = new byte[200_003];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 200_003), handle.Read(buffer, 1001));

        Assert.Equal(Content[1001..201_004], buffer);
    }

    [SampleScenario("split")]
    public static void Pieces_may_come_back_in_any_order(SampleRun run)
    {
        var device = new ScriptedDevice();
        for (int i = 3; i > 0; i--)
            device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(i), data: Enumerable.Repeat((byte)i, Piece).ToArray()));
        using DeviceHandle handle = run.Open(device);
        byte[] buffer = new byte[Three];

        Assert.Equal(new IoResult(STATUS_SUCCESS, Three), handle.Read(buffer));

        Assert.Equal([3, 2, 1], buffer.Chunk(Piece).Select(c => c.Distinct().Single()));
    }

    [SampleScenario("split")]
    public static void A_piece_that_fails_fails_the_whole(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(), Respond.After(TimeSpan.FromMilliseconds(1), STATUS_DEVICE_DATA_ERROR), Respond.Now());
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_DEVICE_DATA_ERROR, 0), handle.Read(new byte[Three]));
    }

    [SampleScenario("split")]
    public static void A_short_piece_ends_the_transfer(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(), Respond.Now(STATUS_SUCCESS, 17), Respond.Now());
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, Piece + 17), handle.Read(new byte[Three]));
    }

    [SampleScenario("split")]
    public static void The_end_of_the_device_makes_a_short_transfer(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(), Respond.Now(STATUS_END_OF_FILE), Respond.Now(STATUS_END_OF_FILE));
        device.Enqueue(Respond.Now(STATUS_END_OF_FILE), Respond.Now(STATUS_END_OF_FILE), Respond.Now(STATUS_END_OF_FILE));
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, Piece), handle.Read(new byte[Three]));
        Assert.Equal(new IoResult(STATUS_END_OF_FILE, 0), handle.Read(new byte[Three]));
    }

    [SampleScenario("split")]
    public static void Cancelling_the_request_cancels_its_pieces(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.WhenTold(), Respond.WhenTold(), Respond.WhenTold());
        using DeviceHandle handle = run.Open(device);

        IoOperation read = handle.StartRead(new byte[Three]);
        Assert.Equal(STATUS_PENDING, read.InitialStatus);
        Assert.True(read.Cancel());

        Assert.Equal(new IoResult(STATUS_CANCELLED, 0), read.Wait());
        Assert.All(device.Requests, r => Assert.Equal(STATUS_CANCELLED, r.Status));
    }

    [SampleScenario("split")]
    public static void A_cancelled_request_waits_for_a_piece_that_is_not_cancelled(SampleRun run)
    {
        HeldResponse slow = Respond.WhenTold(cancellable: false);
        var device = new ScriptedDevice();
        device.Enqueue(slow, Respond.WhenTold(), Respond.Now());
        using DeviceHandle handle = run.Open(device);

        IoOperation read = handle.StartRead(new byte[Three]);
        read.Cancel();
        Assert.False(read.IsOver);
        slow.Complete();

        Assert.Equal(new IoResult(STATUS_CANCELLED, 0), read.Wait());
    }

    [SampleScenario("split")]
    public static void Without_memory_for_the_pieces_the_request_fails(SampleRun run)
    {
        var device = new ScriptedDevice();
        using DeviceHandle handle = run.Open(device);
        foreach (int failing in (int[])[2, 3, 4])
        {
            int allocation = 0;
            run.Machine.Irps.FailAllocation = _ => ++allocation == failing;
            Assert.Equal(new IoResult(STATUS_INSUFFICIENT_RESOURCES, 0), handle.Read(new byte[Three]));
            run.Machine.Irps.FailAllocation = null;
        }
        Assert.Empty(device.Requests);
    }
}
