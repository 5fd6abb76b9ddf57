using System.CommandLine;
using System.Text.Json;
using Irpwright.Checking;
using Irpwright.Cli.Stacks;
using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Verification;

namespace Irpwright.Cli;

/// <summary><c>irpwright replay</c>.</summary>
static class ReplayCommand
{
    public const string Examples = """
        Makes one run again, exactly, that check or explore has found something in, and tells what happens in it.

        Examples:
          irpwright replay 'check:mydriver.sys#pnp-surprise-read-later@iw1AiMTIgAABPRgD...'
          irpwright replay 'MyDriver.Tests.dll#CancelWhileCompleting@iw1AyMCBEH...'
          irpwright replay results.json

        Exit codes:
          0 nothing went wrong, 1 violation, bug check or hang, 2 bad usage or input, 3 the run is not the recorded one
        """;

    public static Command Create(Terminal terminal)
    {
        var what = new Argument<string>("FILE|STRING") { Description = "What check or explore showed, or a file that they wrote with --json" };
        var command = new Command("replay", "Show a run again that check or explore has found.") { what };
        command.SetAction(parsed =>
        {
            int exitCode = ExitCode.Clean;
            foreach (string text in Read(parsed.GetValue(what)!)) exitCode = Math.Max(exitCode, Replay(terminal, text));
            return exitCode;
        });
        return command;
    }

    /// <summary>The replay strings in a file of results, or the one that was given.</summary>
    static List<string> Read(string argument)
    {
        if (!File.Exists(argument))
        {
            return argument.Contains('@')
                ? [argument]
                : throw CommandException.BadInput($"{argument}: neither a file nor a replay string, as check and explore print it.");
        }
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllText(argument));
            var found = new List<string>();
            Collect(json.RootElement, found);
            return found.Count > 0 ? found : throw CommandException.BadInput($"{argument}: holds no schedule, as nothing was found.");
        }
        catch (JsonException e)
        {
            throw CommandException.BadInput($"{argument}: was not written by irpwright with --json: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CommandException.BadInput($"{argument}: cannot be read: {e.Message}");
        }
    }

    static void Collect(JsonElement element, List<string> found)
    {
        if (element.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement item in element.EnumerateArray()) Collect(item, found);
        }
        if (element.ValueKind != JsonValueKind.Object) return;
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (property is { Name: "replay", Value.ValueKind: JsonValueKind.String }) found.Add(property.Value.GetString()!);
            else Collect(property.Value, found);
        }
    }

    static int Replay(Terminal terminal, string text)
    {
        try
        {
            return CheckReplay.Parse(text) is { } replay ? ReplayCheck(terminal, replay) : ReplayScenario(terminal, text);
        }
        catch (FormatException e)
        {
            throw CommandException.BadInput(e.Message);
        }
        catch (ReplayException e)
        {
            throw CommandException.Undecided($"{text[..text.LastIndexOf('@')]} is not what was recorded: {e.Message}.");
        }
        catch (DriverCheckException e)
        {
            throw CommandException.BadInput(e.Message);
        }
    }

    static int ReplayCheck(Terminal terminal, CheckReplay replay)
    {
        IReadOnlyList<CheckFinding> findings =
            new DriverCheck(CheckInput.Read(replay.Inputs).Stack, new CheckOptions { ControlRequests = replay.ControlRequests, Rules = RuleCatalog.All }).Replay(replay.Scenario, replay.Schedule);
        foreach (CheckFinding finding in findings) terminal.Output.Write($"{string.Join('\n', finding.Report)}\n\n");
        if (findings.Count == 0) terminal.Output.Write("nothing went wrong\n");
        return findings.Count == 0 ? ExitCode.Clean : ExitCode.Violation;
    }

    static int ReplayScenario(Terminal terminal, string text)
    {
        int at = text.LastIndexOf('@');
        if (!text[..at].Split('#')[0].EndsWith(".dll", StringComparison.OrdinalIgnoreCase))
            throw CommandException.BadInput($"{text}: is no replay string; it is check:DRIVERS#SCENARIO@SCHEDULE or ASSEMBLY.dll#SCENARIO@SCHEDULE, as check and explore print it.");
        IReadOnlyList<AssemblyScenario<Machine>> scenarios = ScenarioAssembly.Find<Machine>(text[..at]);
        if (scenarios.Count > 1) throw CommandException.BadInput($"{text[..at]}: is more than one scenario; give the name behind #.");
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
}
