using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class PassThroughScenarios
{
    [SampleScenario("passthrough", FreeRunning = true)]
    public static void A_read_returns_the_disks_bytes(SampleRun run)
    {
        var disk = new RamDisk(4096);
        disk.Content.Fill(0x5A);
        using DeviceHandle handle = run.Open(disk);
        byte[] buffer = new byte[1000];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 1000), handle.Read(buffer, 77));

        Assert.All(buffer, b => Assert.Equal(0x5A, b));
    }

    [SampleScenario("passthrough", FreeRunning = true)]
    public static void A_write_reaches_the_file(SampleRun run)
    {
        using var file = new TemporaryFile(4096);
        using (DeviceHandle handle = run.Open(new FileDisk(file.Path)))
        {
            Assert.Equal(new IoResult(STATUS_SUCCESS, 3), handle.Write(new byte[] { 1, 2, 3 }, 512));
            Assert.Equal(new IoResult(STATUS_SUCCESS, 0), handle.Flush());
        }
        Assert.Equal([1, 2, 3], File.ReadAllBytes(file.Path)[512..515]);
    }

    [SampleScenario("passthrough", FreeRunning = true)]
    public static void A_pending_request_is_pending_for_its_requestor(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(1), data: new byte[] { 4, 2 }));
        using DeviceHandle handle = run.Open(device);
        byte[] buffer = new byte[2];

        IoOperation read = handle.StartRead(buffer);

        Assert.Equal(STATUS_PENDING, read.InitialStatus);
        Assert.Equal(new IoResult(STATUS_SUCCESS, 2), read.Wait());
        Assert.Equal([4, 2], buffer);
    }

    [SampleScenario("passthrough")]
    public static void Every_outcome_passes(SampleRun run)
    {
        var device = new ScriptedDevice();
        using DeviceHandle handle = run.Open(device);
        foreach ((NTSTATUS status, ulong information) in new[] { (STATUS_SUCCESS, 3UL), (STATUS_BUFFER_OVERFLOW, 4UL), (STATUS_IO_DEVICE_ERROR, 0UL) })
        {
            device.Enqueue(Respond.Now(status, information), Respond.PendingInline(status, information));
            Assert.Equal(new IoResult(status, information), handle.Read(new byte[8]));
            Assert.Equal(new IoResult(status, information), handle.Read(new byte[8]));
        }
    }

    [SampleScenario("passthrough")]
    public static void A_pending_request_can_be_cancelled(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.WhenTold());
        using DeviceHandle handle = run.Open(device);

        IoOperation read = handle.StartRead(new byte[2]);

        Assert.True(read.Cancel());
        Assert.Equal(new IoResult(STATUS_CANCELLED, 0), read.Wait());
    }

    [SampleScenario("passthrough")]
    public static void Control_requests_pass(SampleRun run)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.Now(data: new byte[] { 7 }), Respond.Now(STATUS_INVALID_DEVICE_REQUEST));
        using DeviceHandle handle = run.Open(device);
        byte[] output = new byte[1];

        Assert.Equal(new IoResult(STATUS_SUCCESS, 1), handle.Control(IOCTL_DISK_GET_DRIVE_GEOMETRY, new byte[] { 1, 2 }, output));
        Assert.Equal(new IoResult(STATUS_INVALID_DEVICE_REQUEST, 0), handle.Control(IOCTL_DISK_GET_DRIVE_GEOMETRY));

        Assert.Equal([7], output);
        Assert.Equal([1, 2], device.Requests[0].Data.ToArray());
    }
}
