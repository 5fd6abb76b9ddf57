using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Reporting.Tests;

public class TextTraceTests
{
    const string ScriptedName = @"\Device\Scripted0";

    /// <summary>A device that answers 1 ms later: first with failures, then with success.</summary>
    static ScriptedDevice Flaky(int failures)
    {
        var device = new ScriptedDevice();
        TimeSpan delay = TimeSpan.FromMilliseconds(1);
        for (int i = 0; i < failures; i++) device.Enqueue(Respond.After(delay, NTSTATUS.STATUS_DEVICE_NOT_READY));
        device.Enqueue(Respond.After(delay));
        return device;
    }

    [Fact]
    public void A_read_that_is_over_at_once_is_told_from_open_to_close()
    {
        using Stack stack = new Stack(new RamDisk(4096), @"\Device\RamDisk0").With(new PassThrough())
            .Use(handle => handle.Read(new byte[512], 1024));
        Snapshot.Matches("read", stack.Text);
    }

    [Fact]
    public void A_retry_is_told_as_the_same_IRP_going_down_again()
    {
        using Stack stack = new Stack(Flaky(failures: 2), ScriptedName).With(new PassThrough()).WithCompiled("retry")
            .Use(handle => Assert.Equal(new IoResult(NTSTATUS.STATUS_SUCCESS, 512), handle.Read(new byte[512])));
        Snapshot.Matches("retry", stack.TextOf("irp#2"));
    }

    [Fact]
    public void A_drivers_own_IRPs_are_nested_below_it()
    {
        using Stack stack = new Stack(new RamDisk(65536), @"\Device\RamDisk0").WithCompiled("split")
            .Use(handle => Assert.Equal(new IoResult(NTSTATUS.STATUS_SUCCESS, 40960), handle.Read(new byte[40960])));
        Snapshot.Matches("split", stack.TextOf("irp#2"));
    }

    [Fact]
    public void A_request_that_waits_for_its_own_IRPs_is_told_in_order()
    {
        using Stack stack = new Stack(new RamDisk(4096), @"\Device\RamDisk0").WithCompiled("syncquery")
            .Use(handle => handle.Control(0x00226000, default, new byte[536]));
        Snapshot.Matches("syncquery", stack.Text);
    }

    [Theory]
    [InlineData(true, "cancel")]
    [InlineData(false, "cancel-without-routine")]
    public void A_cancellation_tells_whether_there_was_a_cancel_routine(bool cancelable, string snapshot)
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.WhenTold(cancelable));
        using Stack stack = new(device, ScriptedName);
        if (cancelable) stack.Use(CancelRead);
        else Assert.Throws<MachineHungException>(() => stack.Use(CancelRead));
        Snapshot.Matches(snapshot, stack.Text);

        static void CancelRead(DeviceHandle handle)
        {
            IoOperation read = handle.StartRead(new byte[16]);
            Assert.True(read.Cancel());
            Assert.Equal(NTSTATUS.STATUS_CANCELLED, read.Wait().Status);
        }
    }

    [Fact]
    public void A_lost_pending_mark_shows()
    {
        using Stack stack = new Stack(Flaky(failures: 0), ScriptedName).With(new Careless());
        try
        {
            stack.Use(handle => handle.Read(new byte[512]));
        }
        catch (MachineHungException)
        {
            // Nobody tells the requestor, as on Windows.
        }
        Assert.Contains("STATUS_SUCCESS, pending not propagated -> STATUS_CONTINUE_COMPLETION", stack.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_run_gives_the_same_bytes()
    {
        static (string, string) Run()
        {
            using Stack stack = new Stack(Flaky(failures: 1), ScriptedName).With(new PassThrough()).WithCompiled("retry")
                .Use(handle => handle.Read(new byte[512]));
            return (stack.Text, stack.Json);
        }

        Assert.Equal(Run(), Run());
    }

    [Fact]
    public void Colours_do_not_change_the_text()
    {
        static string Run(bool colours)
        {
            using Stack stack = new Stack(new RamDisk(4096), @"\Device\RamDisk0", colours).With(new PassThrough())
                .Use(handle => handle.Read(new byte[512]));
            return stack.Text;
        }

        string coloured = Run(colours: true);
        Assert.Contains("\e[32m", coloured, StringComparison.Ordinal);
        Assert.Equal(Run(colours: false), System.Text.RegularExpressions.Regex.Replace(coloured, "\e\\[[0-9]*m", ""));
    }
}
