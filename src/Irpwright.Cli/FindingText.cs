using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary>What came of a scenario, for people.</summary>
static class FindingText
{
    /// <param name="preemptionBound">Of the search; null for none.</param>
    public static void Write(
        TextWriter output, AssemblyScenario<Machine> scenario, ExploredScenario explored, ExplorationResult result, int? preemptionBound)
    {
        if (result.Finding is not { } finding)
        {
            string all = preemptionBound is { } bound ? $"every one with at most {bound} preemptions" : "every one there is";
            string extent = result.IsExhaustive ? all : result.TooLong > 0 ? $"{result.TooLong} too long to end" : "";
            output.Write($"{scenario.Name}  nothing found in {Count(result.Runs)}{(extent.Length > 0 ? $", {extent}" : "")}\n");
            return;
        }
        output.Write($"{scenario.Name}  schedule {finding.Run}\n\n");
        Write(output, finding.Failure, explored.Tell(finding.Schedule));
        output.Write($"\n  {finding.Schedule.Preemptions} preemptions, {finding.Schedule.Deviations} unusual choices in {finding.Schedule.Steps.Count}; to see it again\n");
        output.Write($"    irpwright replay '{Reference(scenario, finding)}'\n");
    }

    /// <summary>What <c>irpwright replay</c> takes.</summary>
    public static string Reference(AssemblyScenario<Machine> scenario, Finding finding) => $"{scenario.Assembly}#{scenario.Name}@{finding.Schedule}";

    public static void Write(TextWriter output, Failure failure, IReadOnlyList<string> story)
    {
        string kind = failure.Kind switch
        {
            FailureKind.BugCheck => "BUG CHECK  ",
            FailureKind.Rule => "RULE  ",
            _ => "",
        };
        output.Write($"{kind}{failure.Name}\n  {failure.Sentence}\n");
        if (failure.Page is { } page) output.Write($"  {page}\n");
        output.Write('\n');
        foreach (string line in story) output.Write($"{line}\n");
    }

    static string Count(long runs) => runs == 1 ? "1 schedule" : $"{runs} schedules";
}
