using Irpwright.Reporting;

namespace Irpwright.Checking;

/// <summary>Runs one scenario on a machine of its own.</summary>
sealed class CheckRunner(CheckStack stack, CheckOptions options)
{
    // A driver that needs more for one call is caught in a loop.
    const long InstructionBudget = 4_000_000;

    /// <summary>What one run came to.</summary>
    /// <param name="Failures">Everything that went wrong, the first thing first.</param>
    /// <param name="Refusal">What the drivers were told when they did not come up; null if they did.</param>
    internal sealed record Outcome(IReadOnlyList<Failure> Failures, string? Refusal, int Muted);

    /// <param name="attach">Called before anything runs in the machine.</param>
    /// <param name="see">Called for each violation when it happens.</param>
    /// <param name="tell">Called when the run is over, while its machine still exists, with what stopped it.</param>
    internal Outcome Run(CheckScenario scenario, IScheduleStrategy strategy, bool withFaults, Coverage? coverage, Action<Machine>? attach = null,
        Action<Violation>? see = null, Action<Exception?>? tell = null)
    {
        CheckBench? bench = null;
        int muted = 0;
        var run = new ScenarioRun(machine =>
        {
            machine.Faults.IsOn = withFaults;
            scenario.Act(bench!);
            machine.Faults.IsOn = false;
        })
        {
            Options = new MachineOptions { Name = "check", InstructionBudget = InstructionBudget, ChecksMemory = true, AvoidsTailCalls = options.AvoidsTailCalls },
            Rules = options.Rules,
            Mutes = options.Mutes,
            Concerns = IsOfDriversUnderTest,
            Found = see,
            Ended = (stop, mutedCount) =>
            {
                muted = mutedCount;
                coverage?.Collect(bench!.Guest);
                tell?.Invoke(stop);
            },
        };
        IReadOnlyList<Failure> failures = run.Run(strategy, machine =>
        {
            bench = new CheckBench(machine, stack, scenario);
            coverage?.Attach(machine);
            attach?.Invoke(machine);
        });
        return new([.. Explained(failures).Select(failure => Placed(failure, scenario))], bench!.Refusal, muted);
    }

    static bool IsOfDriversUnderTest(Violation violation) => !CheckBench.Extras.Contains(violation.Driver);

    // A hang is what often comes of a broken rule; if it is not, it shows by itself when the rule is kept.
    static IReadOnlyList<Failure> Explained(IReadOnlyList<Failure> failures) =>
        failures.Any(IsError) ? [.. failures.Where(failure => failure.Kind != FailureKind.Hang)] : failures;

    static bool IsError(Failure failure) => failure.Kind == FailureKind.Rule && RuleCatalog.Find(failure.Name)?.Severity == Severity.Error;

    // What one scenario expects and does not get has nothing to do with what another one does.
    static Failure Placed(Failure failure, CheckScenario scenario) =>
        failure.Kind == FailureKind.Scenario ? failure with { Place = scenario.Id } : failure;

    /// <summary>Makes a recorded run again and reports what it was recorded for.</summary>
    /// <returns>The failure as this run shows it: with the addresses of a machine that is alone.</returns>
    internal (Failure Failure, IReadOnlyList<string> Report) Describe(CheckScenario scenario, Schedule schedule, Failure failure, string replay)
    {
        var lines = new List<string>();
        ObjectNames? names = null;
        TextTrace? story = null;
        (Violation Violation, IReadOnlyList<string> Irp, IReadOnlyList<string> Steps)? seen = null;
        try
        {
            Outcome again = Run(scenario, new ReplayStrategy(schedule), WithFaults(schedule), null, Attach, See, Tell);
            failure = again.Failures.FirstOrDefault(failure.IsTheSameAs) ?? failure;
        }
        catch (ReplayException e)
        {
            // Something is decided outside of the machine: what was seen is still worth a line.
            lines.AddRange([failure.ToString(), "", $"  It was seen once, and could not be shown again: {e.Message}."]);
        }
        return (failure, lines);

        void Attach(Machine machine)
        {
            machine.Events.Add(names = new ObjectNames(machine));
            machine.Events.Add(story = new TextTrace(machine, names, null));
        }

        // While the IRP is still as it was.
        void See(Violation violation)
        {
            if (seen is not null || !ScenarioRun.Of(violation).IsTheSameAs(failure)) return;
            IReadOnlyList<string> irp = violation.Irp != 0 && GuestMemory.IsAccessible(violation.Irp, IRP.SizeOf, PageAccess.Read)
                ? IrpText.Describe(names!, new PIRP(violation.Irp))
                : [];
            story!.Flush();
            seen = (violation, irp, [.. story.Recent]);
        }

        void Tell(Exception? stop)
        {
            story!.Flush();
            string command = $"irpwright replay '{replay}'";
            lines.AddRange(stop switch
            {
                BugCheckException e when failure.Kind == FailureKind.BugCheck => BugCheckText.Describe(e.Report, names!, story, command),
                MachineHungException e when failure.Kind == FailureKind.Hang => BugCheckText.DescribeHang(e.Message, names!, story, command),
                _ when seen is var (violation, irp, steps) => ViolationText.DescribeAtLength(violation, irp, steps, command),
                _ =>
                [
                    $"{failure.Name}  {failure.Place}", .. failure.Sentence.Split('\n').Select(line => $"  {line}"),
                    "", "  last steps", .. story.Recent.Select(step => $"    {step}"), "", "  to see it again", $"    {command}",
                ],
            });
        }
    }

    internal static bool WithFaults(Schedule schedule) =>
        schedule.Steps.Any(step => step.Site?.StartsWith(FaultInjection.SitePrefix, StringComparison.Ordinal) == true);
}
