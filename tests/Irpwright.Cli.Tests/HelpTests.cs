namespace Irpwright.Cli.Tests;

public class HelpTests
{
    [Fact]
    public void Help_lists_what_exists()
    {
        Command help = Command.Run("--help");
        Assert.Equal(0, help.ExitCode);
        Assert.Equal("", help.Error);
        Assert.Contains("run <DRIVER>", help.Output, StringComparison.Ordinal);
        Assert.Contains("inspect <DRIVER>", help.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("run", "irpwright run passthrough --request read:0:512 --trace text")]
    [InlineData("inspect", "irpwright inspect queue.sys")]
    [InlineData("check", "irpwright check mystack.json")]
    public void Help_of_a_command_has_examples(string command, string example)
    {
        Command help = Command.Run(command, "--help");
        Assert.Equal(0, help.ExitCode);
        Assert.Contains(example, help.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_is_the_assemblys()
    {
        Command version = Command.Run("--version");
        Assert.Equal(0, version.ExitCode);
        Assert.StartsWith(typeof(CommandLine).Assembly.GetName().Version!.ToString(3), version.Output, StringComparison.Ordinal);
    }
}
