using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>One run of a scenario: a new machine, the rules, the scenario until it and all it started have ended.</summary>
/// <param name="rules">Watched for; all there are, if null.</param>
public sealed class ScenarioRun(Action<Machine> scenario, IReadOnlyList<RuleInfo>? rules = null)
{
    /// <inheritdoc cref="RunScenario"/>
    public IReadOnlyList<Failure> Run(IScheduleStrategy strategy, Action<Machine> attach)
    {
        using var machine = new Machine(new MachineOptions { Name = "explore", Strategy = strategy });
        var failures = new List<Failure>();
        if (rules is null || rules.Count > 0)
        {
            Verifier.Attach(machine, rules).Found = violation =>
            {
                if (violation.Rule.Severity != Severity.Advice && !IsUnwinding(machine)) failures.Add(FailureOf(violation));
            };
        }
        attach(machine);
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
            failures.Add(Failure.Of(e));
        }
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

    static Failure FailureOf(Violation violation) => new(FailureKind.Rule, violation.Rule.Name, violation.Sentence, violation.Rule.Page);
}
