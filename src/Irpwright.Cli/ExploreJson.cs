using System.Text.Json;
using Irpwright.Exploration;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary>What <c>explore --json</c> writes; docs/results-json.md describes it.</summary>
sealed record ExploreJson
{
    public int Version { get; init; } = 1;

    public required int ExitCode { get; init; }

    public required IReadOnlyList<ScenarioJson> Scenarios { get; init; }

    public string Serialize() => JsonSerializer.Serialize(this, CliJson.Readable.ExploreJson) + "\n";
}

sealed record ScenarioJson(string Scenario, long Schedules, long Redundant, long TooLong, bool Exhaustive, FindingJson? Finding)
{
    public static ScenarioJson Of(AssemblyScenario<Machine> scenario, ExplorationResult result) => new(
        scenario.Name, result.Runs, result.Redundant, result.TooLong, result.IsExhaustive,
        result.Finding is { } finding ? FindingJson.Of(scenario, finding) : null);
}

sealed record FindingJson(
    string Kind, string Name, string Sentence, string? Page, long Schedule, int Preemptions, int Steps, string Replay)
{
    public static FindingJson Of(AssemblyScenario<Machine> scenario, Finding finding) => new(
        char.ToLowerInvariant(finding.Failure.Kind.ToString()[0]) + finding.Failure.Kind.ToString()[1..],
        finding.Failure.Name, finding.Failure.Sentence, finding.Failure.Page,
        finding.Run, finding.Schedule.Preemptions, finding.Schedule.Steps.Count, FindingText.Reference(scenario, finding));
}
