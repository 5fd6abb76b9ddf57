using System.CommandLine;
using System.Text.Json;
using Irpwright.Exploration;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary><c>irpwright replay</c>.</summary>
static class ReplayCommand
{
    public const string Examples = """
        Runs one schedule again, exactly, and tells what happens in it.

        Examples:
          irpwright replay 'MyDriver.Tests.dll#CancelWhileCompleting@iw1AyMCBEH...'
          irpwright replay results.json

        Exit codes:
          0 nothing went wrong, 1 violation, bug check or hang, 2 bad usage or input, 3 the run is not the recorded one
        """;

    public static Command Create(Terminal terminal)
    {
        var what = new Argument<string>("FILE|STRING") { Description = "What explore showed, or a file that it wrote with --json" };
        var command = new Command("replay", "Show a schedule again that explore has found.") { what };
        command.SetAction(parsed =>
        {
            int exitCode = ExitCode.Clean;
            foreach (string text in Read(parsed.GetValue(what)!)) exitCode = Math.Max(exitCode, Replay(terminal, text));
            return exitCode;
        });
        return command;
    }

    /// <summary>The replay strings in a file that explore wrote, or the one that was given.</summary>
    static IReadOnlyList<string> Read(string argument)
    {
        if (argument.Contains('@')) return [argument];
        if (!File.Exists(argument))
            throw CommandException.BadInput($"{argument}: neither a file nor ASSEMBLY.dll#SCENARIO@SCHEDULE, as explore prints it.");
        try
        {
            ExploreJson? json = JsonSerializer.Deserialize(File.ReadAllText(argument), CliJson.Readable.ExploreJson);
            string[] found = [.. json?.Scenarios.Where(s => s.Finding is not null).Select(s => s.Finding!.Replay) ?? []];
            return found.Length > 0 ? found : throw CommandException.BadInput($"{argument}: holds no schedule, as nothing was found.");
        }
        catch (JsonException e)
        {
            throw CommandException.BadInput($"{argument}: was not written by irpwright explore --json: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CommandException.BadInput($"{argument}: cannot be read: {e.Message}");
        }
    }

    static int Replay(Terminal terminal, string text)
    {
        int at = text.LastIndexOf('@');
        IReadOnlyList<AssemblyScenario> scenarios = ScenarioAssembly.Find(text[..at]);
        if (scenarios.Count > 1) throw CommandException.BadInput($"{text[..at]}: is more than one scenario; give the name behind #.");
        try
        {
            var schedule = Schedule.Parse(text[(at + 1)..]);
            ExploredScenario explored = Explore.Replay(text[(at + 1)..], scenarios[0].Run);
            ExplorationResult result = explored.Run(null);
            IReadOnlyList<string> story = explored.Tell(schedule);
            if (result.Finding is { } finding)
            {
                FindingText.Write(terminal.Output, finding.Failure, story);
                return finding.Failure.Kind == FailureKind.Unsupported ? ExitCode.Undecided : ExitCode.Violation;
            }
            foreach (string line in story) terminal.Output.Write($"{line}\n");
            terminal.Output.Write("\nnothing went wrong\n");
            return ExitCode.Clean;
        }
        catch (FormatException e)
        {
            throw CommandException.BadInput(e.Message);
        }
        catch (ReplayException e)
        {
            throw CommandException.Undecided($"{scenarios[0].Name} is not what was recorded: {e.Message}.");
        }
    }
}
