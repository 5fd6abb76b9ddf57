using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary><c>irpwright explore</c>.</summary>
static class ExploreCommand
{
    public const string Examples = """
        Runs scenarios under many schedules until one breaks a rule, ends in a bug check or a hang, or throws. A scenario is a public
        method that takes a Machine, marked with [Scenario] of Irpwright.Testing. What fails is shown with as few preemptions as
        possible, and with a command that shows it again.

        Examples:
          irpwright explore MyDriver.Tests.dll
          irpwright explore MyDriver.Tests.dll#CancelWhileCompleting --schedules 100000
          irpwright explore MyDriver.Tests.dll --strategy dfs --preemptions 2
          irpwright explore MyDriver.Tests.dll --shard 3/8

        Exit codes:
          0 nothing found, 1 violation, bug check or hang, 2 bad usage or input, 3 could not decide
        """;

    static readonly Dictionary<string, SearchKind> Strategies = new()
    {
        ["mixed"] = SearchKind.Mixed, ["random"] = SearchKind.Random, ["pct"] = SearchKind.Pct, ["delay"] = SearchKind.DelayBounded,
        ["dfs"] = SearchKind.DepthFirst,
    };

    public static Command Create(Terminal terminal)
    {
        var assembly = new Argument<string>("ASSEMBLY.dll[#SCENARIO]") { Description = "An assembly, and one of its scenarios [default: all]" };
        Option<string> strategy = Option("--strategy", "STRATEGY", "mixed, random, pct, delay, or dfs: every schedule there is [default: mixed]");
        Option<string> schedules = Option("--schedules", "N", "How many schedules of each scenario to run at most [default: 1000; dfs: 1000000]");
        Option<string> seed = Option("--seed", "N", "The same seed makes the same schedules [default: 1]");
        Option<string> preemptions = Option("--preemptions", "N", "With dfs: how often a thread may be stopped although it could go on [default: no limit]");
        Option<string> shard = Option("--shard", "I/N", "Run the Ith of N parts of the schedules");
        Option<string> json = Option("--json", "FILE", "Write the results to a file as JSON; irpwright replay reads it");
        var command = new Command("explore", "Search the interleavings of scenarios for one that fails.")
        {
            assembly, strategy, schedules, seed, preemptions, shard, json,
        };
        command.SetAction(parsed =>
        {
            string kind = parsed.GetValue(strategy) ?? "mixed";
            if (!Strategies.TryGetValue(kind, out SearchKind search))
                throw CommandException.BadInput($"--strategy {kind}: there are {string.Join(", ", Strategies.Keys)}.");
            (int part, int parts) = ParseShard(parsed.GetValue(shard));
            ulong bound = Number("--preemptions", parsed.GetValue(preemptions), int.MaxValue, int.MaxValue);
            var options = new ExploreOptions
            {
                Search = search,
                Schedules = (long)Number("--schedules", parsed.GetValue(schedules), search == SearchKind.DepthFirst ? 1_000_000UL : 1000, long.MaxValue),
                Seed = Number("--seed", parsed.GetValue(seed), 1, ulong.MaxValue),
                PreemptionBound = bound == int.MaxValue ? null : (int)bound,
                Shard = part,
                Shards = parts,
            };
            IReadOnlyList<AssemblyScenario<Machine>> scenarios = ScenarioAssembly.Find<Machine>(parsed.GetValue(assembly)!);
            using ResultWriter? file = parsed.GetValue(json) is { } path ? ResultWriter.ToFile("--json", path) : null;
            int exitCode = Explore(terminal, scenarios, options, file);
            file?.Complete();
            return exitCode;
        });
        return command;
    }

    static Option<string> Option(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    static ulong Number(string option, string? text, ulong otherwise, ulong maximum)
    {
        if (text is null) return otherwise;
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value) && value <= maximum) return value;
        throw CommandException.BadInput($"{option} {text}: give a number from 0 to {maximum}.");
    }

    static (int Shard, int Shards) ParseShard(string? text)
    {
        if (text is null) return (0, 1);
        if (text.Split('/') is [var part, var parts]
            && int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int i)
            && int.TryParse(parts, NumberStyles.None, CultureInfo.InvariantCulture, out int n)
            && i >= 1 && i <= n) return (i - 1, n);
        throw CommandException.BadInput($"--shard {text}: give I/N, as in 1/8, with I from 1 to N.");
    }

    static int Explore(Terminal terminal, IReadOnlyList<AssemblyScenario<Machine>> scenarios, ExploreOptions options, ResultWriter? file)
    {
        using var interrupted = new CancellationTokenSource();
        using var signal = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = true;
            interrupted.Cancel();
        });
        using ProgressBar? bar = ProgressBar.Start(terminal, options.Schedules * scenarios.Count);
        var results = new List<ScenarioJson>();
        int exitCode = ExitCode.Clean;
        foreach (AssemblyScenario<Machine> scenario in scenarios)
        {
            ExploredScenario explored = Testing.Explore.Schedules(options, scenario.Run);
            ExplorationResult result;
            try
            {
                result = explored.Run(null, _ => bar?.Advance(), interrupted.Token);
            }
            catch (ReplayException e)
            {
                throw CommandException.Undecided($"{scenario.Name}: {e.Message}.");
            }
            results.Add(ScenarioJson.Of(scenario, result));
            FindingText.Write(terminal.Output, scenario, explored, result, options.PreemptionBound);
            if (result.Finding is { Failure.Kind: FailureKind.Unsupported } && exitCode == ExitCode.Clean) exitCode = ExitCode.Undecided;
            else if (result.Finding is { Failure.Kind: not FailureKind.Unsupported }) exitCode = ExitCode.Violation;
            if (interrupted.IsCancellationRequested) break;
        }
        if (interrupted.IsCancellationRequested) exitCode = ExitCode.Interrupted;
        file?.Write(new ExploreJson { ExitCode = exitCode, Scenarios = results }.Serialize());
        if (exitCode == ExitCode.Interrupted) throw new CommandException(ExitCode.Interrupted, "interrupted; the results are incomplete.");
        return exitCode;
    }
}
