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

    /// <summary>A device whose driver takes its time before it answers.</summary>
    sealed class Dozing : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            foreach (byte major in (byte[])[IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE]) DriverObject.MajorFunction[major] = Routine(Complete);
            DriverObject.MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Routine(DispatchFlush);
            NTSTATUS status = IoCreateDevice(DriverObject, 0, RTL_CONSTANT_STRING(@"\Device\Dozing0"), FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device);
            device.Flags &= ~DO_DEVICE_INITIALIZING;
            return status;
        }

        NTSTATUS DispatchFlush(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            long interval = -TimeSpan.TicksPerMillisecond;
            KeDelayExecutionThread(MODE.KernelMode, false, in interval);
            return Complete(DeviceObject, Irp);
        }

        NTSTATUS Complete(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            Irp.IoStatus = default;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
        }
    }

    [Fact]
    public void What_another_thread_sends_is_not_told_as_sent_by_a_dispatch_routine_that_waits()
    {
        using Stack stack = new(new Dozing(), @"\Device\Dozing0");
        stack.Machine.RunTogether(Flush, Flush);
        Assert.Equal(2, stack.Text.Split("IRP_MJ_FLUSH_BUFFERS").Length - 1);
        Assert.DoesNotContain("sends irp#", stack.Text, StringComparison.Ordinal);

        void Flush()
        {
            using DeviceHandle handle = DeviceHandle.Open(stack.Machine, @"\Device\Dozing0");
            handle.Flush();
        }
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

    [Theory]
    [InlineData(IRP_MJ_READ, 0, 0, "0 bytes")]
    [InlineData(IRP_MJ_DEVICE_CONTROL, 0, 12, "12 bytes")]
    [InlineData(IRP_MJ_CLOSE, 0, 0, "")]
    [InlineData(IRP_MJ_CREATE, 0, 1, "FILE_OPENED")]
    [InlineData(IRP_MJ_PNP, IRP_MN_START_DEVICE, 0, "")]
    [InlineData(IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS, 0xFFFFA000_00012340, "answer at ffffa000`00012340")]
    [InlineData(IRP_MJ_PNP, IRP_MN_QUERY_PNP_DEVICE_STATE, 0x22, "PNP_DEVICE_DONT_DISPLAY_IN_UI, PNP_DEVICE_NOT_DISABLEABLE")]
    public void Information_is_told_as_what_it_is_for_the_request(byte major, byte minor, ulong information, string expected) =>
        Assert.Equal(expected, RequestText.Answer(major, minor, information));
}
