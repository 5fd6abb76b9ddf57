using System.Text.Json;
using System.Text.RegularExpressions;

namespace Irpwright.Cli.Tests;

/// <summary>
/// Goal: bugs of driver practice are found, and drivers without them are left in peace. Method: one command for each broken sample, which
/// finds its bug; the same command with the same source, compiled without the bug, finds nothing. samples/README.md has the same commands.
/// </summary>
public partial class BrokenSampleTests
{
    /// <summary>The broken sample, the command line that shows its bug, and what finds it: rules, a bug check, or a hang.</summary>
    public static TheoryData<string, string, string> Commands => new()
    {
        { "broken-cancelset", "broken-cancelset.sys -r read:0:4:async -r write:0:01020304", "IwCompletedCancelable" },
        { "broken-errorpath", "broken-errorpath.sys --device ramdisk:64KiB -r read:0x20000:16", "DoubleCompletion" },
        { "broken-event", "broken-event.sys --device root -r pnp:start", "DoubleCompletion" },
        { "broken-forgotten", "broken-forgotten.sys -r ioctl:0x22a00c:0200000005000000", "IrpProcessingComplete" },
        { "broken-freeirp", "broken-freeirp.sys -r read:0:16", "IwFreedNoIrp" },
        { "broken-leakirp", "broken-leakirp.sys --device ramdisk:64KiB -r read:0xFE00:512 -r pnp:remove", "IwIrpLeakedAtUnload" },
        { "broken-lockheld", "broken-lockheld.sys -r read:0:4", "SpinLockSafe" },
        { "broken-mdl", "broken-mdl.sys -r ioctl:0x222403:ff0000000100000002000000:4", "IwPagesLeftLocked, IwPoolLeakedAtUnload" },
        { "broken-method", "broken-method.sys -r ioctl:0x22240b:00100000000000001000000041000000:4", "IwUserMemoryUnguarded, IwUserMemoryUnprobed, SYSTEM_SERVICE_EXCEPTION" },
        { "broken-overrun", "broken-overrun.sys -r write:0:41004200430044004500460047004800490041004200430044004500460047004800490041004200", "IwOutOfBounds" },
        { "broken-pending", "queue.sys broken-pending.sys -r read:0:16", "IwPendingNotPropagated" },
        { "broken-power", "broken-power.sys --device root -r pnp:start -r power:D3", "IwPowerIrpCompletion" },
        { "broken-remove", "broken-remove.sys --device root -r pnp:surprise", "PnpIrpCompletion" },
        { "broken-removelock", "broken-removelock.sys -r write:0:0102 -r pnp:remove", "hang" },
        { "broken-status", "queue.sys broken-status.sys -r flush", "LowerDriverReturn" },
        { "broken-touch", "broken-touch.sys -r read:0:16", "IwTouchedForeignIrp" },
        { "broken-unload", "broken-unload.sys -r write:0:01", "IwFreedActiveTimer, IwActiveAtUnload" },
    };

    [Theory]
    [MemberData(nameof(Commands))]
    public void The_bug_is_found(string driver, string command, string finding)
    {
        (Command run, JsonElement result) = Run(command);

        Assert.Equal("", run.Error);
        Assert.Equal(1, run.ExitCode);
        // Another rule may see another side of the same bug.
        Assert.Superset(new HashSet<string>(finding.Split(", ")), new HashSet<string>(Findings(result)));
        Assert.All(result.GetProperty("violations").EnumerateArray(), v => Assert.Equal(driver, v.GetProperty("driver").GetString()));
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public void Without_the_bug_nothing_is_found(string driver, string command, string _)
    {
        (Command run, JsonElement result) = Run(command.Replace(driver, driver.Replace("broken-", "fixed-", StringComparison.Ordinal), StringComparison.Ordinal));

        Assert.Equal("", run.Error);
        Assert.Equal(0, run.ExitCode);
        Assert.Empty(result.GetProperty("violations").EnumerateArray());
        Assert.Equal("clean", result.GetProperty("outcome").GetString());
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public void The_documentation_has_the_command_and_the_finding(string driver, string command, string finding)
    {
        string row = Assert.Single(
            File.ReadLines(TestFiles.Samples("README.md")), line => line.StartsWith($"| [`{driver}`]", StringComparison.Ordinal));

        Assert.Contains($"`{command}`", row, StringComparison.Ordinal);
        Assert.All(finding.Split(", "), found => Assert.Contains(found, row, StringComparison.Ordinal));
    }

    /// <summary>Runs a command of samples/README.md, with all rules on.</summary>
    static (Command Run, JsonElement Result) Run(string command)
    {
        string json = TestFiles.Temporary("result.json");
        string[] arguments = [.. command.Split(' ').Select(a => Image().Match(a) is { Success: true } image ? TestFiles.Sample(image.Groups[1].Value) : a)];
        // No driver here loops: the watchdog would only meet a busy host.
        Command run = Command.Run(["run", .. arguments, "--verify", "--watchdog", "600", "--json", json]);
        return (run, JsonDocument.Parse(File.ReadAllText(json)).RootElement);
    }

    /// <summary>The rules that were broken, and how the run ended.</summary>
    static string[] Findings(JsonElement result)
    {
        string outcome = result.GetProperty("outcome").GetString()!;
        string end = outcome == "bugCheck" ? result.GetProperty("bugCheck").GetProperty("name").GetString()! : outcome;
        return [.. result.GetProperty("violations").EnumerateArray().Select(v => v.GetProperty("rule").GetString()!), end];
    }

    [GeneratedRegex(@"^([\w-]+)\.sys$")]
    private static partial Regex Image();
}
