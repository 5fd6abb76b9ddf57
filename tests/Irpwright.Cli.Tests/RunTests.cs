using System.Text.Json;

namespace Irpwright.Cli.Tests;

public class RunTests
{
    const string ZerosDigest = "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb";

    [Fact]
    public void A_read_prints_status_count_digest_and_bytes()
    {
        Command run = Command.Run("run", "passthrough", "--request", "read:0:16");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Error);
        Assert.Equal(
            [
                $"read:0:16  STATUS_SUCCESS  16 bytes  sha256 {ZerosDigest}",
                "  00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
            ],
            run.Lines);
    }

    [Theory]
    [InlineData("passthrough")]
    [InlineData("retry")]
    [InlineData("split")]
    [InlineData("syncquery")]
    public void Compiled_filters_run_above_a_disk_image(string driver)
    {
        Command run = Command.Run(
            "run", TestFiles.Sample(driver), "--device", $"file:{TestFiles.Disk}", "-r", "read:512:64", "-r", "read:0:64KiB");
        Assert.Equal(0, run.ExitCode);
        Assert.Contains("|IRPWRIGHT SECTOR|", run.Output, StringComparison.Ordinal);
        Assert.Contains("read:0:64KiB  STATUS_SUCCESS  65536 bytes  sha256 ff40b04539dce449", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_written_can_be_read_back_from_the_file()
    {
        string disk = TestFiles.Temporary("disk.img", new byte[512]);
        Command run = Command.Run("run", "passthrough", "--device", $"file:{disk}", "-r", "write:16:00ff10", "-r", "flush");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal([0x00, 0xFF, 0x10, 0x00], File.ReadAllBytes(disk)[16..20]);
        Assert.Equal(["write:16:00ff10  STATUS_SUCCESS  3 bytes", "flush  STATUS_SUCCESS  0 bytes"], run.Lines);
    }

    [Fact]
    public void Drivers_find_in_the_registry_what_registration_files_put_there()
    {
        string Registration(string status) => TestFiles.Temporary("settings.reg", System.Text.Encoding.UTF8.GetBytes(
            "Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\System\\CurrentControlSet\\Services\\Configured]\n\"Status\"=dword:" + status));
        string driver = $"{TestFiles.Assembly}:Configured";
        string refusing = Registration("c0000182"), agreeing = Registration("00000000");
        Assert.Contains("DriverEntry returned STATUS_OBJECT_NAME_NOT_FOUND", Command.Run("run", driver).AssertComplains(3), StringComparison.Ordinal);
        Assert.Contains("DriverEntry returned STATUS_DEVICE_CONFIGURATION_ERROR",
            Command.Run("run", driver, "--registry", refusing).AssertComplains(3), StringComparison.Ordinal);
        Assert.Equal(0, Command.Run("run", driver, "--registry", refusing, "--registry", agreeing).ExitCode);
    }

    [Fact]
    public void Data_can_come_from_a_file()
    {
        string data = TestFiles.Temporary("data.bin", "ABCD"u8);
        Command run = Command.Run("run", "ramdisk", "-r", $"write:0:@{data}", "-r", "read:0:4");
        Assert.Contains("41 42 43 44", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_software_driver_with_one_device_is_opened_without_asking()
    {
        Command run = Command.Run("run", $"{TestFiles.Assembly}:Mirror", "-r", "ioctl:0x222000:010203:8");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("  00000000  03 02 01                                          |...|", run.Lines[1]);
    }

    [Fact]
    public void A_filter_goes_above_the_driver_listed_before_it()
    {
        Command run = Command.Run("run", TestFiles.Sample("queue"), "passthrough", "-r", "read:0:16", "--trace", "text");
        Assert.Equal(0, run.ExitCode);
        Assert.Contains(@"passthrough#1 above \Device\Queue0", run.Output, StringComparison.Ordinal);
        Assert.Contains("STATUS_SUCCESS, pending propagated -> STATUS_CONTINUE_COMPLETION", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_request_can_be_cancelled_while_it_is_pending()
    {
        Command run = Command.Run("run", TestFiles.Sample("queue"), "-r", "read:0:16:cancel", "-r", "read:0:16:cancel:x3");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal(
            [
                "read:0:16:cancel  STATUS_CANCELLED  0 bytes",
                "  IoCancelIrp was called while it was pending",
                "read:0:16:cancel:x3  3 times  STATUS_CANCELLED  0 bytes",
                "  IoCancelIrp was called for 3 while they were pending",
            ],
            run.Lines);
    }

    [Fact]
    public void A_request_that_is_over_at_once_cannot_be_cancelled()
    {
        Command run = Command.Run("run", "ramdisk", "-r", "read:0:16:cancel");
        Assert.Equal("  over before it could be cancelled", run.Lines[1]);
    }

    [Fact]
    public void Asynchronous_requests_are_on_their_way_together()
    {
        Command run = Command.Run("run", TestFiles.Sample("queue"), "-r", "read:0:8:async:x2", "-r", "read:8:8", "--trace", "text");
        string[] queued = [.. run.Lines.Where(l => l.EndsWith("-> STATUS_PENDING", StringComparison.Ordinal))];
        Assert.Equal(3, queued.Length);
        Assert.True(Array.FindLastIndex(run.Lines, l => l.EndsWith("-> STATUS_PENDING", StringComparison.Ordinal))
            < Array.FindIndex(run.Lines, l => l.Contains("IoCompleteRequest  STATUS_SUCCESS  8 bytes", StringComparison.Ordinal)));
        Assert.Contains("read:0:8:async:x2  2 times  STATUS_SUCCESS  8 bytes", run.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("fifo")]
    [InlineData("random:7")]
    [InlineData("free")]
    public void Every_schedule_gives_the_same_result(string schedule)
    {
        Command run = Command.Run("run", TestFiles.Sample("queue"), "-r", "read:0:16:x3", "--schedule", schedule);
        Assert.Equal(0, run.ExitCode);
        Assert.Equal("  00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|", run.Lines[1]);
    }

    [Theory]
    [InlineData("text")]
    [InlineData("json")]
    public void A_repeatable_schedule_gives_the_same_trace_byte_for_byte(string format)
    {
        string[] args =
        [
            "run", TestFiles.Sample("split"), TestFiles.Sample("retry"), "--device", "scripted", "-r", "read:0:40000:async:x3",
            "--schedule", "random:42", "--trace", format,
        ];
        Command first = Command.Run(args);
        Assert.Equal(0, first.ExitCode);
        Assert.Equal(first.Output, Command.Run(args).Output);
    }

    [Fact]
    public void A_JSON_trace_on_stdout_is_JSON_alone()
    {
        Command run = Command.Run("run", "passthrough", "-r", "read:0:16", "--trace", "json");
        Assert.All(run.Lines, line => JsonDocument.Parse(line));
        Assert.StartsWith("read:0:16  STATUS_SUCCESS", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_trace_can_go_to_a_file()
    {
        string file = TestFiles.Temporary("trace.txt");
        Command run = Command.Run("run", "passthrough", "-r", "read:0:16", "--trace", $"text:{file}");
        Assert.StartsWith("read:0:16  STATUS_SUCCESS", run.Output, StringComparison.Ordinal);
        Assert.Contains("IRP_MJ_READ  offset 0  length 16", File.ReadAllText(file), StringComparison.Ordinal);
    }

    [Fact]
    public void Results_can_be_written_as_JSON()
    {
        string file = TestFiles.Temporary("result.json");
        Assert.Equal(0, Command.Run("run", "passthrough", "-r", "read:0:16:x2", "--json", file).ExitCode);
        JsonElement result = JsonDocument.Parse(File.ReadAllText(file)).RootElement;
        Assert.Equal(1, result.GetProperty("version").GetInt32());
        Assert.Equal("clean", result.GetProperty("outcome").GetString());
        Assert.Equal(@"\Device\RamDisk0", result.GetProperty("device").GetString());
        JsonElement request = Assert.Single(result.GetProperty("requests").EnumerateArray());
        Assert.Equal(new string('0', 32), request.GetProperty("data").GetString());
        JsonElement outcome = Assert.Single(request.GetProperty("outcomes").EnumerateArray());
        Assert.Equal("STATUS_SUCCESS", outcome.GetProperty("status").GetString());
        Assert.Equal(ZerosDigest, outcome.GetProperty("sha256").GetString());
        Assert.Equal(2, outcome.GetProperty("count").GetInt32());
    }

    [Theory]
    [InlineData("broken-double", "BUG CHECK 0x44  MULTIPLE_IRP_COMPLETE_REQUESTS")]
    [InlineData("broken-stack", "BUG CHECK 0x35  NO_MORE_IRP_STACK_LOCATIONS")]
    [InlineData("broken-null", "BUG CHECK 0x3B  SYSTEM_SERVICE_EXCEPTION")]
    [InlineData("broken-wild", "BUG CHECK 0x3B  SYSTEM_SERVICE_EXCEPTION")]
    [InlineData("broken-recurse", "BUG CHECK 0x7F  UNEXPECTED_KERNEL_MODE_TRAP")]
    public void A_broken_driver_ends_in_a_report(string driver, string title)
    {
        string json = TestFiles.Temporary("result.json");
        Command run = Command.Run("run", TestFiles.Sample(driver), "-r", "read:0:64", "--json", json);
        Assert.Equal(1, run.ExitCode);
        Assert.Equal("", run.Error);
        Assert.Equal(["read:0:64  not finished", "", title], run.Lines[..3]);
        Assert.Equal($"    irpwright run {TestFiles.Sample(driver)} -r read:0:64 --json {json}", run.Lines[^1]);
        JsonElement result = JsonDocument.Parse(File.ReadAllText(json)).RootElement;
        Assert.Equal("bugCheck", result.GetProperty("outcome").GetString());
        Assert.EndsWith(result.GetProperty("bugCheck").GetProperty("name").GetString()!, title, StringComparison.Ordinal);
    }

    [Fact]
    public void The_results_hold_the_exception_of_a_bug_check()
    {
        string json = TestFiles.Temporary("result.json");
        Command.Run("run", TestFiles.Sample("broken-null"), "-r", "read:0:64", "--json", json);
        JsonElement exception = JsonDocument.Parse(File.ReadAllText(json)).RootElement.GetProperty("bugCheck").GetProperty("exception");
        Assert.Equal((0xC0000005, "STATUS_ACCESS_VIOLATION"), (exception.GetProperty("code").GetUInt32(), exception.GetProperty("name").GetString()));
        Assert.Equal(["00000000`00000001", "00000000`00000000"], exception.GetProperty("parameters").EnumerateArray().Select(e => e.GetString()));
        string address = exception.GetProperty("address").GetString()!;
        Assert.Equal((address, "00000000`00000000"), (exception.GetProperty("registers").GetProperty("rip").GetString(), exception.GetProperty("registers").GetProperty("r8").GetString()));
        JsonElement marked = Assert.Single(exception.GetProperty("instructions").EnumerateArray(), line => line.TryGetProperty("fault", out _));
        Assert.Equal((address, "f049830001", "lock add qword ptr [r8],1"),
            (marked.GetProperty("address").GetString(), marked.GetProperty("bytes").GetString(), marked.GetProperty("text").GetString()));
    }

    [Fact]
    public void With_rules_on_a_broken_rule_is_shown_where_it_was_broken_and_at_the_end()
    {
        string json = TestFiles.Temporary("result.json");
        string[] drivers = [TestFiles.Sample("queue"), $"{TestFiles.Assembly}:Forgetful"];
        Command run = Command.Run(["run", .. drivers, "-r", "read:0:16", "--verify", "--trace", "text", "--json", json]);
        Assert.Equal(1, run.ExitCode);
        int found = Array.FindIndex(run.Lines, l => l.TrimStart().StartsWith("!! IwPendingNotPropagated: ", StringComparison.Ordinal));
        Assert.Contains("Forgetful", run.Lines[found], StringComparison.Ordinal);
        Assert.Contains(run.Lines, l => l.StartsWith("ERROR  IwPendingNotPropagated  Forgetful!Done", StringComparison.Ordinal));
        JsonElement result = JsonDocument.Parse(File.ReadAllText(json)).RootElement;
        Assert.Equal("IwPendingNotPropagated", result.GetProperty("violations")[0].GetProperty("rule").GetString());
    }

    [Theory]
    [InlineData("passthrough")]
    [InlineData("retry")]
    [InlineData("split")]
    [InlineData("syncquery")]
    public void With_rules_on_a_good_driver_is_clean(string driver)
    {
        Command run = Command.Run(
            "run", TestFiles.Sample(driver), "--device", $"file:{TestFiles.Disk}", "-r", "read:0:64KiB", "-r", "flush", "--verify");
        Assert.Equal("", run.Error);
        Assert.Equal(0, run.ExitCode);
        Assert.Equal(2, run.Lines.Length);
    }

    [Fact]
    public void A_driver_that_loops_is_stopped_by_the_watchdog()
    {
        Command run = Command.Run("run", $"{TestFiles.Assembly}:Looping", "--watchdog", "0.5");
        Assert.Equal(1, run.ExitCode);
        Assert.Equal("BUG CHECK 0xEA  THREAD_STUCK_IN_DEVICE_DRIVER", run.Lines[0]);
    }

    [Fact]
    public void An_exception_in_a_driver_is_a_bug_check()
    {
        Command run = Command.Run("run", $"{TestFiles.Assembly}:Throwing");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("A C# driver threw FormatException: oops", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_requests_the_drivers_and_their_devices_are_listed()
    {
        Command run = Command.Run("run", TestFiles.Sample("queue"), "passthrough");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal([@"queue        loaded  \Device\Queue0", "passthrough  loaded  passthrough#1"], run.Lines);
    }

    [Fact]
    public void An_error_status_is_a_result()
    {
        Command run = Command.Run("run", "ramdisk", "-r", "read:1GiB:16");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal(["read:1GiB:16  STATUS_INVALID_PARAMETER  0 bytes"], run.Lines);
    }
}
