using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>Runs a scenario under many schedules: who goes on at each scheduling point, which faults happen, when devices answer.</summary>
/// <remarks>
/// A scenario builds its drivers and devices anew, as each run has a machine of its own, and must decide nothing by itself: no clock,
/// no random numbers, no threads of the host. It runs inside the machine.
/// </remarks>
/// <example>
/// <code>
/// [Fact]
/// public void Letting_completion_continue_completes_the_irp_twice() => Explore
///     .Schedules(count: 500, seed: 1, machine =>
///     {
///         DeviceHandle disk = DeviceStack.Build(machine, new SlowDisk(), new ForwardAndWait()).Open();
///         disk.Read(new byte[512]);
///     })
///     .Expect(BugCheckCode.MULTIPLE_IRP_COMPLETE_REQUESTS);
/// </code>
/// </example>
public static class Explore
{
    /// <summary>Explores a scenario; nothing runs before one of the methods of the result says what to expect.</summary>
    public static ExploredScenario Schedules(int count, ulong seed, Action<Machine> scenario) =>
        Schedules(new ExploreOptions { Schedules = count, Seed = seed }, scenario);

    /// <inheritdoc cref="Schedules(int, ulong, Action{Machine})"/>
    public static ExploredScenario Schedules(ExploreOptions options, Action<Machine> scenario) => new(options, scenario, null);

    /// <summary>Makes one recorded run again, under a debugger for example.</summary>
    /// <param name="replay">What the failure message of an exploration shows behind "replay:".</param>
    /// <exception cref="FormatException">The text is damaged; says where.</exception>
    public static ExploredScenario Replay(string replay, Action<Machine> scenario)
    {
        // The command line puts the scenario's name before it.
        return new(new ExploreOptions(), scenario, Schedule.Parse(replay[(replay.LastIndexOf('@') + 1)..]));
    }

    /// <summary>Makes the same run twice and requires the same events in the same order.</summary>
    /// <returns>Hash of the events.</returns>
    /// <exception cref="ExplorationException">They differ; names the first event that does.</exception>
    public static string RequireSameRun(ulong seed, Action<Machine> scenario)
    {
        string[] first = Events(seed, scenario), second = Events(seed, scenario);
        int same = first.AsSpan().CommonPrefixLength(second);
        if (same < Math.Max(first.Length, second.Length))
        {
            throw new ExplorationException(
                $"Two runs with seed {seed} differ in event {same + 1}:\n  {first.ElementAtOrDefault(same) ?? "the end"}\n  {second.ElementAtOrDefault(same) ?? "the end"}\nSomething is decided outside of the machine.");
        }
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', first))));
    }

    static string[] Events(ulong seed, Action<Machine> scenario)
    {
        var text = new StringWriter();
        var record = new RecordingStrategy(new RandomStrategy(seed));
        int slice = 0;
        IReadOnlyList<Failure> failures = new ScenarioRun(scenario) { Rules = [] }.Run(record, machine =>
        {
            slice = GuestMemory.SliceOf(machine.Memory.SliceBase);
            var names = new ObjectNames(machine);
            machine.Events.Add(names);
            machine.Events.Add(new JsonTrace(machine, names, text));
        });
        IEnumerable<string> ends = failures.Select(f => f.ToString()).Append(record.Schedule.ToString());
        return [.. text.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Concat(ends).Select(line => InFirstSlice(line, slice))];
    }

    // Where the memory of a machine lies depends on which others there are in the process; two runs are not the same machine.
    static string InFirstSlice(string line, int slice) =>
        Regex.Replace(line, $"(ffffa[0-2]|0*1){slice:x2}(?=`?[0-9a-f]{{8}}\\b)", "${1}00");
}

/// <summary>A scenario and how it is to be explored; the methods run it.</summary>
public sealed class ExploredScenario
{
    // A timeline is for reading.
    const int LongestTimeline = 200;

    readonly ExploreOptions options;
    readonly Action<Machine> scenario;
    readonly Schedule? replay;

    internal ExploredScenario(ExploreOptions options, Action<Machine> scenario, Schedule? replay)
    {
        this.options = options;
        this.scenario = scenario;
        this.replay = replay;
    }

    /// <summary>Requires that some schedule ends in this bug check.</summary>
    /// <returns>The first such schedule, with as few preemptions as possible.</returns>
    /// <exception cref="ExplorationException">None does.</exception>
    public Finding Expect(BugCheckCode code) => Expect(FailureKind.BugCheck, code.ToString());

    /// <summary>Requires that a rule is broken under some schedule.</summary>
    /// <param name="rule">Its name, such as <c>MarkIrpPending</c>.</param>
    /// <inheritdoc cref="Expect(BugCheckCode)"/>
    /// <exception cref="ArgumentException">There is no such rule.</exception>
    public Finding Expect(string rule) => Expect(RuleCatalog.All.FirstOrDefault(r => r.Name == rule)
        ?? throw new ArgumentException($"There is no rule {rule}.", nameof(rule)));

    /// <inheritdoc cref="Expect(string)"/>
    public Finding Expect(RuleInfo rule) => Expect(FailureKind.Rule, rule.Name);

    /// <summary>Requires that some schedule ends with threads that wait for ever.</summary>
    /// <inheritdoc cref="Expect(BugCheckCode)"/>
    public Finding ExpectHang() => Expect(FailureKind.Hang, null);

    /// <summary>Requires that under some schedule the scenario throws an exception of its own, such as a failed assertion.</summary>
    /// <typeparam name="TException">The type itself, not one derived from it.</typeparam>
    /// <inheritdoc cref="Expect(BugCheckCode)"/>
    public Finding Expect<TException>() where TException : Exception => Expect(FailureKind.Scenario, typeof(TException).Name);

    /// <summary>Requires that no schedule leads to anything wrong.</summary>
    /// <exception cref="ExplorationException">One does. The message has the rule or bug check, what happened, and how to see it again.</exception>
    public ExplorationResult ExpectNothing()
    {
        ExplorationResult result = Run(null);
        if (result.Finding is { } finding) throw Unmet("Nothing was to go wrong", finding);
        return result;
    }

    /// <summary>Runs the schedules and tells what came of it; a failure is shrunk.</summary>
    /// <param name="wanted">Which failures are looked for; all, if null.</param>
    /// <param name="progress">Told after each run how many there have been.</param>
    public ExplorationResult Run(Func<Failure, bool>? wanted, Action<long>? progress = null, CancellationToken cancellation = default)
    {
        var runner = new ScenarioRun(scenario) { Rules = options.Rules };
        var explorer = new Explorer(runner.Run)
        {
            Schedules = options.Schedules, StepLimit = options.StepLimit, Wanted = wanted, Progress = progress,
        };
        if (replay is not null)
        {
            IReadOnlyList<Failure> failures = explorer.Replay(replay);
            Failure? failure = failures.FirstOrDefault(f => wanted?.Invoke(f) ?? true);
            Finding? Found(Failure? f) => f is null ? null : new Finding(f, replay, 1);
            return new(1, 0, 0, replay.Steps.Count, false, Found(failure), Found(failures.Count > 0 ? failures[0] : null));
        }
        ExplorationResult result = explorer.Explore(options.NewSearch(), cancellation);
        return result.Finding is { } found ? result with { Finding = explorer.Shrink(found) } : result;
    }

    /// <summary>The story of a schedule: what happens to each IRP, a line per step.</summary>
    public IReadOnlyList<string> Tell(Schedule schedule) => new ScenarioRun(scenario) { Rules = options.Rules }.Tell(schedule);

    Finding Expect(FailureKind kind, string? name)
    {
        ExplorationResult result = Run(f => f.Kind == kind && (name is null || f.Name == name));
        if (result.Finding is { } finding) return finding;
        string expected = name ?? "a hang";
        if (result.Other is { } other) throw Unmet($"{expected} was expected, but something else happened", other);
        string all = result.IsExhaustive ? "; these are all there are" : "";
        throw new ExplorationException($"{expected} was expected, but nothing went wrong in {result.Runs} schedules{all}.");
    }

    ExplorationException Unmet(string problem, Finding finding)
    {
        var text = new StringBuilder($"{problem}: {finding.Failure}\n");
        if (finding.Failure.Page is { } page) text.Append($"  {page}\n");
        IReadOnlyList<string> story = Tell(finding.Schedule);
        if (story.Count > LongestTimeline) text.Append($"\n... {story.Count - LongestTimeline} lines before\n");
        else text.Append('\n');
        foreach (string line in story.TakeLast(LongestTimeline)) text.Append($"{line}\n");
        text.Append($"\nschedule {finding.Run}, {finding.Schedule.Preemptions} preemptions\nreplay: {finding.Schedule}\n");
        return new ExplorationException(text.ToString(), finding);
    }
}

/// <summary>An exploration did not come out as expected. The message says what happened instead, and how to see it again.</summary>
public sealed class ExplorationException(string message, Finding? finding = null) : Exception(message)
{
    /// <summary>What happened instead; null if nothing did.</summary>
    public Finding? Finding { get; } = finding;
}
