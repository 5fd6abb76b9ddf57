using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Verification;

namespace Irpwright.Testing;

/// <summary>Runs a scenario: a new machine each time, the rules, the scenario until it and all it started have ended.</summary>
public sealed class ScenarioRun(Action<Machine> scenario)
{
    /// <summary>Of each machine, but for the strategy.</summary>
    public MachineOptions Options { get; init; } = new() { Name = "explore" };

    /// <summary>Watched for; all but advice, if null.</summary>
    public IReadOnlyList<RuleInfo>? Rules { get; init; }

    /// <summary>What is known and no failure.</summary>
    public MuteList? Mutes { get; init; }

    /// <summary>Which violations are failures; all, if null.</summary>
    public Func<Violation, bool>? Concerns { get; init; }

    /// <summary>Told of each violation that is a failure, when it happens.</summary>
    public Action<Violation>? Found { get; init; }

    /// <summary>Told when a run is over, while its machine still exists: what stopped it, and how many violations were muted.</summary>
    public Action<Exception?, int>? Ended { get; init; }

    /// <inheritdoc cref="RunScenario"/>
    public IReadOnlyList<Failure> Run(IScheduleStrategy strategy, Action<Machine> attach)
    {
        using var machine = new Machine(Options with { Strategy = strategy });
        var failures = new List<Failure>();
        bool isOver = false;
        Verifier? verifier = Rules is [] ? null : Verifier.Attach(machine, Rules, Mutes);
        verifier?.Found = violation =>
        {
            if (!isOver && IsUnwinding(machine) || !(Concerns?.Invoke(violation) ?? true)) return;
            failures.Add(Of(violation));
            Found?.Invoke(violation);
        };
        attach(machine);
        Exception? stop = null;
        try
        {
            machine.Run(() =>
            {
                scenario(machine);
                ((ControlledScheduler)machine.Scheduler).RunToRest();
            });
        }
        catch (ScheduleException)
        {
            throw;
        }
        catch (Exception e)
        {
            stop = e;
            failures.Add(Failure.Of(e));
        }
        isOver = true;
        verifier?.Finish();
        Ended?.Invoke(stop, verifier?.MutedCount ?? 0);
        return failures;
    }

    /// <summary>Makes a recorded run again and tells its story.</summary>
    public IReadOnlyList<string> Tell(Schedule schedule)
    {
        var story = new StringWriter();
        try
        {
            Run(new ReplayStrategy(schedule), machine => Trace(machine, story));
        }
        catch (ScheduleException e)
        {
            story.Write($"{e.Message}\n");
        }
        return story.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    static void Trace(Machine machine, TextWriter output)
    {
        var names = new ObjectNames(machine);
        machine.Events.Add(names);
        machine.Events.Add(new TextTrace(machine, names, output));
    }

    // Other threads that the stop of the machine ends do so at the same time, in no order.
    static bool IsUnwinding(Machine machine) =>
        machine.BugChecks.StopReason is not null && machine.BugChecks.Report?.Thread != machine.TryGetCurrentThread()?.Name;

    /// <summary>What a violation stands for.</summary>
    public static Failure Of(Violation violation) =>
        new(FailureKind.Rule, violation.Rule.Name, violation.Sentence, violation.Rule.Page) { Place = violation.Symbol ?? violation.Driver };
}
