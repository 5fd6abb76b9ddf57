using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests.Scenarios;

static class AssociatedScenarios
{
    const int Part = 0x4000;
    const int Three = 2 * Part + 100;

    static ScriptedDevice Direct() => new() { Buffering = DO_DIRECT_IO };

    [SampleScenario("associated", FreeRunning = true)]
    public static void A_large_write_arrives_in_parts(SampleRun run)
    {
        ScriptedDevice device = Direct();
        using DeviceHandle handle = run.Open(device);
        byte[] content = new byte[Three];
        new Random(7).NextBytes(content);

        Assert.Equal(new IoResult(STATUS_SUCCESS, Three), handle.Write(content, 9));

        Assert.Equal([(9, Part), (9 + Part, Part), (9 + 2 * Part, 100)], device.Requests.Select(r => (r.Offset, (int)r.Length)));
        Assert.Equal(content, device.Requests.SelectMany(r => r.Data.ToArray()));
    }

    [SampleScenario("associated")]
    public static void Parts_may_come_back_in_any_order(SampleRun run)
    {
        ScriptedDevice device = Direct();
        for (int i = 3; i > 0; i--)
            device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(i), data: Enumerable.Repeat((byte)i, Part).ToArray()));
        using DeviceHandle handle = run.Open(device);
        byte[] buffer = new byte[Three];

        Assert.Equal(new IoResult(STATUS_SUCCESS, Three), handle.Read(buffer));

        Assert.Equal([3, 2, 1], buffer.Chunk(Part).Select(c => c.Distinct().Single()));
    }

    [SampleScenario("associated")]
    public static void The_worse_error_of_the_parts_is_that_of_the_whole(SampleRun run)
    {
        ScriptedDevice device = Direct();
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(1), STATUS_DEVICE_DATA_ERROR), Respond.Now(STATUS_UNSUCCESSFUL), Respond.Now());
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_DEVICE_DATA_ERROR, 0), handle.Read(new byte[Three]));
    }

    [SampleScenario("associated")]
    public static void Small_and_buffered_transfers_pass_as_they_are(SampleRun run)
    {
        ScriptedDevice device = Direct();
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, Part), handle.Write(new byte[Part]));
        Assert.Equal(STATUS_SUCCESS, handle.Flush().Status);

        Assert.Equal([(IRP_MJ_WRITE, Part), (IRP_MJ_FLUSH_BUFFERS, 0)],
            device.Requests.Where(r => r.MajorFunction is IRP_MJ_WRITE or IRP_MJ_FLUSH_BUFFERS).Select(r => (r.MajorFunction, (int)r.Length)));
    }

    [SampleScenario("associated")]
    public static void A_buffered_device_gets_large_transfers_whole(SampleRun run)
    {
        var device = new ScriptedDevice { Buffering = DO_BUFFERED_IO };
        using DeviceHandle handle = run.Open(device);

        Assert.Equal(new IoResult(STATUS_SUCCESS, Three), handle.Write(new byte[Three]));

        Assert.Equal([Three], device.Requests.Where(r => r.MajorFunction == IRP_MJ_WRITE).Select(r => (int)r.Length));
    }

    [SampleScenario("associated")]
    public static void Without_memory_for_the_parts_the_request_fails(SampleRun run)
    {
        ScriptedDevice device = Direct();
        using DeviceHandle handle = run.Open(device);
        foreach (int failing in (int[])[2, 3, 4])
        {
            int allocation = 0;
            run.Machine.Irps.FailAllocation = _ => ++allocation == failing;
            Assert.Equal(new IoResult(STATUS_INSUFFICIENT_RESOURCES, 0), handle.Write(new byte[Three]));
            run.Machine.Irps.FailAllocation = null;
        }
        Assert.DoesNotContain(device.Requests, r => r.MajorFunction == IRP_MJ_WRITE);
    }
}
