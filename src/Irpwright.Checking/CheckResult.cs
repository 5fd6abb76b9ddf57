namespace Irpwright.Checking;

/// <summary>Something wrong that the battery found.</summary>
/// <param name="Failure">What went wrong.</param>
/// <param name="Scenario">What was going on when it first did.</param>
/// <param name="Schedule">The run in which it did.</param>
/// <param name="Rule">The rule that was broken; null for a bug check, or a hang.</param>
/// <param name="Severity">Of the rule; bug checks and hangs are errors.</param>
/// <param name="Report">The whole story, for people.</param>
/// <param name="Replay">From this the <c>replay</c> command makes the same run again.</param>
/// <param name="Scenarios">How many scenarios showed it.</param>
public sealed record CheckFinding(
    Failure Failure, CheckScenario Scenario, Schedule Schedule, RuleInfo? Rule, Severity Severity, IReadOnlyList<string> Report, string Replay,
    int Scenarios);

/// <summary>A scenario that did not run, or not to its end.</summary>
public sealed record SkippedScenario(string Scenario, string Reason);

/// <summary>How much of the drivers and of the kernel was reached.</summary>
/// <param name="Routines">Kernel routines that the drivers called, in order of their names.</param>
/// <param name="Functions">Functions of compiled drivers that ran.</param>
/// <param name="AllFunctions">How many functions compiled drivers have, as far as their exception tables tell.</param>
/// <param name="Blocks">Straight pieces of their code that ran.</param>
/// <param name="AllBlocks">How many there are, without those that only jump tables lead to.</param>
public sealed record CheckCoverage(IReadOnlyList<string> Routines, int Functions, int AllFunctions, int Blocks, int AllBlocks);

/// <summary>What a check came to.</summary>
/// <param name="Findings">Most severe first.</param>
/// <param name="Ran">Scenarios that ran.</param>
/// <param name="Runs">Runs of scenarios: schedules and faults.</param>
/// <param name="Faults">Call sites that were made to fail.</param>
/// <param name="Muted">Violations that were muted.</param>
public sealed record CheckResult(
    DriverProfile Profile, IReadOnlyList<CheckFinding> Findings, IReadOnlyList<CheckScenario> Ran, long Runs, int Faults, int Muted,
    IReadOnlyList<SkippedScenario> Skipped, CheckCoverage Coverage)
{
    /// <summary>Whether something is wrong that is more than advice.</summary>
    public bool HasViolations => Findings.Any(finding => finding.Severity != Severity.Advice);
}
