using System.Text.Json;

namespace Irpwright.Cli.Tests;

public class CheckTests
{
    [Fact]
    public void A_driver_that_is_right_ends_with_zero_and_a_summary()
    {
        Command check = Command.Run("check", TestFiles.Sample("csq"), "--schedules", "3");
        Assert.Equal("", check.Error);
        Assert.Equal(ExitCode.Clean, check.ExitCode);
        Assert.EndsWith(@"csq.sys: software driver; \Device\Csq0", check.Lines[0], StringComparison.Ordinal);
        Assert.StartsWith("0 findings in ", check.Lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_finding_is_written_everywhere_and_replays_from_its_string_and_from_the_file()
    {
        string json = TestFiles.Temporary("check.json"), sarif = TestFiles.Temporary("check.sarif"), junit = TestFiles.Temporary("check.xml"), html = TestFiles.Temporary("check.html");
        Command check = Command.Run("check", TestFiles.Sample("broken-forgotten"), "--schedules", "2", "--json", json, "--sarif", sarif, "--junit", junit, "--html", html);
        Assert.Equal(ExitCode.Violation, check.ExitCode);
        Assert.Contains("IrpProcessingComplete", File.ReadAllText(sarif), StringComparison.Ordinal);
        Assert.Contains("IrpProcessingComplete</a>", File.ReadAllText(html), StringComparison.Ordinal);
        Assert.Contains("<failure", File.ReadAllText(junit), StringComparison.Ordinal);
        using var results = JsonDocument.Parse(File.ReadAllText(json));
        string replay = results.RootElement.GetProperty("findings")[0].GetProperty("replay").GetString()!;
        Command again = Command.Run("replay", replay);
        Assert.Equal(ExitCode.Violation, again.ExitCode);
        Assert.Contains("IrpProcessingComplete", again.Output, StringComparison.Ordinal);
        Assert.Contains("IrpProcessingComplete", Command.Run("replay", json).Output, StringComparison.Ordinal);
    }

    [Fact]
    public void What_could_not_be_decided_has_its_own_exit_code()
    {
        Command check = Command.Run("check", TestFiles.Sample("passthrough"), "--budget", "0.000001s");
        Assert.Equal(ExitCode.Undecided, check.ExitCode);
        Assert.Contains("the budget was spent", check.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Lengths_of_a_control_request_get_past_a_drivers_first_check_and_stand_in_the_replay_string()
    {
        Command check = Command.Run("check", TestFiles.Assembly + ":Guarded", "--ioctl", "0x222008:23:7", "--scenarios", "control-0x00222008");
        Assert.Equal(ExitCode.Violation, check.ExitCode);
        Assert.Contains("MANUALLY_INITIATED_CRASH", check.Output, StringComparison.Ordinal);
        string replay = Assert.Single(check.Lines, line => line.Contains("irpwright replay ", StringComparison.Ordinal)).Split('\'')[1];
        Assert.Contains("+0x222008:23:7#", replay, StringComparison.Ordinal);
        Assert.Contains("MANUALLY_INITIATED_CRASH", Command.Run("replay", replay).Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_control_code_that_is_given_twice_is_refused() =>
        Assert.Contains("0x222008 is given twice", Command.Run("check", TestFiles.Sample("csq"), "--ioctl", "0x222008", "--ioctl", "0x222008:4").AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);

    [Fact]
    public void The_replay_string_of_a_driver_may_be_pasted_into_a_shell_whatever_its_path_holds()
    {
        string driver = TestFiles.Temporary("mine, and +0x1's 100%.sys", File.ReadAllBytes(TestFiles.Sample("broken-forgotten")));
        Command check = Command.Run("check", driver, "--schedules", "1", "--scenarios", "control");
        string[] quoted = check.Lines.First(line => line.Contains("irpwright replay ", StringComparison.Ordinal)).Split('\'');
        Assert.Equal(3, quoted.Length);
        Assert.Contains("IrpProcessingComplete", Command.Run("replay", quoted[1]).Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--budget", "soon", "give seconds or minutes")]
    [InlineData("--ioctl", "read", "is no control code")]
    [InlineData("--ioctl", "0x222004:many", "'many' is no length")]
    [InlineData("--ioctl", "0x222004:4:5:6", "give the code, the input's length and the output's")]
    [InlineData("--mute", "NoRule", "is no rule")]
    [InlineData("--mute-file", "/does/not/exist", "exist")]
    [InlineData("--schedules", "0", "at least 1")]
    [InlineData("--scenarios", "nothing-begins-so", "No scenario's name begins with")]
    [InlineData("--skip", "nothing-begins-so", "No scenario's name begins with")]
    public void A_wrong_option_is_one_line_that_says_what_to_do(string option, string value, string message)
    {
        Command check = Command.Run("check", TestFiles.Sample("csq"), option, value);
        Assert.Contains(message, check.AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
    }

    [Fact]
    public void Rules_are_listed_and_explained_by_name_and_by_code()
    {
        Assert.Contains("DoubleCompletion", Command.Run("rules").Output, StringComparison.Ordinal);
        Command byName = Command.Run("rules", "doublecompletion");
        Assert.Equal(ExitCode.Clean, byName.ExitCode);
        Assert.Contains("wdm-doublecompletion", byName.Output, StringComparison.Ordinal);
        Assert.Equal(byName.Output, Command.Run("rules", "BC-0x44").Output);
        Assert.Contains("there are DoubleCompletion", Command.Run("rules", "DoubleCompl").AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
        using var json = JsonDocument.Parse(Command.Run("rules", "--json").Output);
        Assert.True(json.RootElement.GetProperty("rules").GetArrayLength() > 50);
    }
}
