using System.Runtime.InteropServices;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class SyncQueryScenarios
{
    const int Length = 5000;

    static byte[] Content { get; } = [.. Enumerable.Range(0, Length).Select(i => (byte)(i * 7))];

    [SampleScenario("syncquery", FreeRunning = true)]
    public static void Length_and_first_bytes_of_a_file_are_known(SampleRun run)
    {
        using var file = new TemporaryFile(Content);
        using DeviceHandle handle = run.Open(new FileDisk(file.Path));

        SYNCQUERY_RESULT result = GetResult(handle);

        Assert.Equal((STATUS_SUCCESS, STATUS_SUCCESS), (result.LengthStatus, result.ReadStatus));
        Assert.Equal((Length, 512u), (result.Length, result.FirstBytesLength));
        Assert.Equal(Content[..512], MemoryMarshal.AsBytes(new ReadOnlySpan<SYNCQUERY_RESULT.SECTOR>(in result.FirstBytes)).ToArray());
    }

    [SampleScenario("syncquery", FreeRunning = true)]
    public static void Reads_are_clipped_to_the_length(SampleRun run)
    {
        using var file = new TemporaryFile(Content);
        using DeviceHandle handle = run.Open(new FileDisk(file.Path));
        byte[] buffer = new byte[100];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 100), handle.Read(buffer, Length - 100));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 30), handle.Read(buffer, Length - 30));
        Assert.Equal(Content[^30..], buffer[..30]);
        Assert.Equal(new IoResult(STATUS_END_OF_FILE, 0), handle.Read(buffer, Length));
        Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Read(Array.Empty<byte>(), Length));
        Assert.Equal(new IoResult(STATUS_INVALID_PARAMETER, 0), handle.Read(buffer, -1));
    }

    [SampleScenario("syncquery")]
    public static void The_device_is_asked_once_when_it_is_opened(SampleRun run)
    {
        var device = new ScriptedDevice { Otherwise = Answer };
        using DeviceHandle handle = run.Open(device);
        handle.Read(new byte[10], 20);

        Assert.Equal(["control 0x0007405C", "read 512 bytes at 0", "read 10 bytes at 20"], device.Requests.Select(r => r.ToString()));
        GetResult(handle);
        Assert.Equal(5, device.Requests.Count);
    }

    static Response Answer(ScriptedRequest request) =>
        Respond.Now(data: request.ControlCode == IOCTL_DISK_GET_LENGTH_INFO ? BitConverter.GetBytes((long)Length) : default);

    [SampleScenario("syncquery")]
    public static void Answers_may_come_in_every_way(SampleRun run)
    {
        byte[] length = BitConverter.GetBytes(600L);
        foreach (Response answer in (Response[])[
            Respond.Now(data: length), Respond.PendingInline(data: length), Respond.After(TimeSpan.FromMilliseconds(1), data: length)])
        {
            var device = new ScriptedDevice();
            device.Enqueue(answer, Respond.After(TimeSpan.FromMilliseconds(1), STATUS_SUCCESS, 500));
            using (DeviceHandle handle = run.Open(device))
                Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Read(new byte[10], 599));
            run.Remove();
        }
    }

    [SampleScenario("syncquery")]
    public static void A_device_that_knows_no_length_is_not_clipped(SampleRun run)
    {
        foreach (Response refusal in (Response[])[
            Respond.Now(STATUS_INVALID_DEVICE_REQUEST), Respond.After(TimeSpan.FromMilliseconds(1), STATUS_INVALID_DEVICE_REQUEST)])
        {
            var device = new ScriptedDevice();
            device.Enqueue(refusal, Respond.Now(STATUS_DEVICE_NOT_READY), Respond.Now());
            device.Enqueue(refusal, Respond.Now(STATUS_SUCCESS, 12));
            using (DeviceHandle handle = run.Open(device))
            {
                Assert.Equal(new IoResult(STATUS_SUCCESS, 10), handle.Read(new byte[10], 1L << 40));
                SYNCQUERY_RESULT result = GetResult(handle);
                Assert.Equal((STATUS_INVALID_DEVICE_REQUEST, 0L), (result.LengthStatus, result.Length));
                Assert.Equal((STATUS_SUCCESS, 12u), (result.ReadStatus, result.FirstBytesLength));
            }
            run.Remove();
        }
    }

    [SampleScenario("syncquery")]
    public static void A_senseless_length_is_refused(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(data: BitConverter.GetBytes(-1L)), Respond.Now());
        device.Enqueue(Respond.Now(data: new byte[4]), Respond.Now());
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(STATUS_INVALID_DEVICE_STATE, GetResult(handle).LengthStatus);
    }

    [SampleScenario("syncquery")]
    public static void The_result_needs_room(SampleRun run)
    {
        using DeviceHandle handle = run.Open(new ScriptedDevice());

        Assert.Equal(new IoResult(STATUS_BUFFER_TOO_SMALL, 0), handle.Control(SyncQuery.IOCTL_SYNCQUERY_GET_RESULT, output: new byte[535]));
    }

    static SYNCQUERY_RESULT GetResult(DeviceHandle handle)
    {
        byte[] output = new byte[Marshal.SizeOf<SYNCQUERY_RESULT>()];
        Assert.Equal(new IoResult(STATUS_SUCCESS, 536), handle.Control(SyncQuery.IOCTL_SYNCQUERY_GET_RESULT, output: output));
        return MemoryMarshal.Read<SYNCQUERY_RESULT>(output);
    }
}
