using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Reporting.Tests;

public class BugCheckTextTests
{
    [Theory]
    [InlineData("broken-double", "BUG CHECK 0x44  MULTIPLE_IRP_COMPLETE_REQUESTS", "broken-double!BrokenDoubleDispatchRead+0x")]
    [InlineData("broken-null", "BUG CHECK 0x3B  SYSTEM_SERVICE_EXCEPTION", "broken-null!BrokenNullReadDone+0x")]
    [InlineData("broken-stack", "BUG CHECK 0x35  NO_MORE_IRP_STACK_LOCATIONS", "broken-stack!BrokenStackDispatchRead+0x")]
    [InlineData("broken-recurse", "BUG CHECK 0x7F  UNEXPECTED_KERNEL_MODE_TRAP", "broken-recurse!BrokenRecurse")]
    public void The_report_names_the_bug_check_and_the_routine(string driver, string title, string place)
    {
        string[] report = ReportOf(driver);
        Assert.Equal(title, report[0]);
        Assert.Single(report, line => line.StartsWith($"  in           {place}", StringComparison.Ordinal));
    }

    [Fact]
    public void The_IRP_is_described_with_the_current_location_marked()
    {
        string[] report = ReportOf("broken-null");
        string title = Assert.Single(report, line => line.StartsWith("  irp#2 at ffff", StringComparison.Ordinal));
        Assert.EndsWith("2 stack locations, location 2 is current", title, StringComparison.Ordinal);
        string current = Assert.Single(report, line => line.StartsWith("    > 2  IRP_MJ_READ", StringComparison.Ordinal));
        Assert.Contains("broken-null#1", current, StringComparison.Ordinal);
    }

    [Fact]
    public void The_report_ends_with_the_last_steps_and_how_to_see_it_again()
    {
        string[] report = ReportOf("broken-double");
        Assert.Equal(["  to see it again", "    irpwright run it"], report[^2..]);
        int steps = Array.IndexOf(report, "  last steps");
        Assert.Contains("!! bug check 0x44", report[^4], StringComparison.Ordinal);
        Assert.Equal(12, report.Length - 3 - steps - 1);
    }

    [Fact]
    public void An_exception_is_shown_with_registers_and_with_the_instruction_marked()
    {
        string[] report = ReportOf("broken-null");
        int title = Array.FindIndex(report, line => line.StartsWith("  exception    0xC0000005  STATUS_ACCESS_VIOLATION  at broken-null!BrokenNullReadDone+0x", StringComparison.Ordinal));
        Assert.Equal(["    parameter[0]  00000000`00000001", "    parameter[1]  00000000`00000000", "  registers"], report[(title + 1)..(title + 4)]);
        Assert.Matches("^    rip=ffffa0[0-9a-f]{10} rsp=ffffa0[0-9a-f]{10} rbp=[0-9a-f]{16}$", report[title + 6]);
        Assert.Matches("^     r8=0{16}  r9=[0-9a-f]{16} r10=[0-9a-f]{16}$", report[title + 7]);
        Assert.Matches("^    efl=[0-9a-f]{8}  cs=0010  ss=0018  ds=002b  es=002b  fs=0053  gs=002b$", report[title + 10]);
        string marked = Assert.Single(report, line => line.StartsWith("  > ffffa0", StringComparison.Ordinal));
        Assert.EndsWith("  f049830001      lock add qword ptr [r8],1", marked, StringComparison.Ordinal);
        Assert.Contains(report, line => line.Contains(" je      broken-null!BrokenNullReadDone+0x", StringComparison.Ordinal));
    }

    [Fact]
    public void A_stop_that_is_no_exception_shows_none() => Assert.DoesNotContain(ReportOf("broken-double"), line => line.StartsWith("  exception", StringComparison.Ordinal));

    [Fact]
    public void A_hang_lists_the_IRPs_that_never_came_back()
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.WhenTold());
        using Stack stack = new(device, @"\Device\Scripted0");
        var hang = Assert.Throws<MachineHungException>(() => stack.Use(handle => handle.Read(new byte[16])));
        IReadOnlyList<string> report = BugCheckText.DescribeHang(hang.Message, stack.Names, stack.Trace, "");
        Assert.Equal("HANG", report[0]);
        Assert.Contains(report, l => l.StartsWith("  irp#2 at ", StringComparison.Ordinal));
        Assert.Contains(report, l => l.Contains("> 1  IRP_MJ_READ  0      pending  scripteddevice", StringComparison.Ordinal));
    }

    [Fact]
    public void A_hang_lists_requests_that_were_completed_without_their_requestor_being_told()
    {
        var device = new ScriptedDevice();
        device.Enqueue(Respond.After(TimeSpan.FromMilliseconds(1)));
        using Stack stack = new Stack(device, @"\Device\Scripted0").With(new Careless());
        var hang = Assert.Throws<MachineHungException>(() => stack.Use(handle => handle.Read(new byte[16])));
        IReadOnlyList<string> report = BugCheckText.DescribeHang(hang.Message, stack.Names, stack.Trace, "");
        string title = Assert.Single(report, line => line.StartsWith("  irp#2 at ", StringComparison.Ordinal));
        Assert.EndsWith("2 stack locations, completed", title, StringComparison.Ordinal);
    }

    static string[] ReportOf(string driver)
    {
        using Stack stack = new Stack(new RamDisk(4096), @"\Device\RamDisk0").WithCompiled(driver);
        var stop = Assert.Throws<BugCheckException>(() => stack.Use(handle => handle.Read(new byte[512])));
        return [.. BugCheckText.Describe(stop.Report, stack.Names, stack.Trace, "irpwright run it")];
    }
}
