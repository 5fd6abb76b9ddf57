namespace Irpwright.Checking.Reports;

/// <summary>What a check came to, for people.</summary>
public static class CheckText
{
    /// <summary>One line: what the battery takes the drivers for.</summary>
    public static string Describe(DriverProfile profile)
    {
        if (profile.Role == DriverRole.None) return "scenarios with drivers of their own";
        string devices = profile.Devices.Count == 0 ? "no device that programs can open" : string.Join(", ", profile.Devices.Take(3)) + (profile.Devices.Count > 3 ? ", ..." : "");
        string codes = profile.ControlRequests.Count switch
        {
            0 => "",
            1 => ", 1 control code",
            int count => $", {count} control codes",
        };
        return $"{RoleName(profile.Role)}; {devices}{codes}";
    }

    static string RoleName(DriverRole role) => role switch
    {
        DriverRole.Software => "software driver",
        DriverRole.Filter => "filter driver",
        DriverRole.Function => "function driver",
        _ => "bus driver",
    };

    /// <summary>A line for each scenario: its name and what it does.</summary>
    public static IReadOnlyList<string> List(IReadOnlyList<CheckScenario> scenarios)
    {
        const int longest = 48;
        int width = scenarios.Max(scenario => scenario.Id.Length <= longest ? scenario.Id.Length : 0);
        return [.. scenarios.Select(scenario => scenario.Title == scenario.Id ? scenario.Id : $"{scenario.Id.PadRight(width)}  {scenario.Title}")];
    }

    /// <summary>One line while the check goes on: what a scenario shows.</summary>
    public static string Announce(CheckScenario scenario, Failure failure) =>
        $"{failure.Name}{(failure.Place is { } place ? $"  {place}" : "")}  in {scenario.Id}";

    /// <summary>The last lines: how much was done, and what was not.</summary>
    public static IReadOnlyList<string> Summarise(CheckResult result)
    {
        var lines = new List<string>();
        lines.Add($"{Count(result.Findings.Count, "finding")} in {Count(result.Ran.Count, "scenario")}, {Count(result.Runs, "run")}; "
            + $"{Count(result.Faults, "call site")} made to fail; {Count(result.Coverage.Routines.Count, "kernel routine")} called"
            + (result.Coverage.AllFunctions > 0 ? $"; {Reached(result.Coverage)} reached" : ""));
        if (result.Muted > 0) lines.Add($"{Count(result.Muted, "violation")} muted");
        foreach (IGrouping<string, SkippedScenario> reason in result.Skipped.GroupBy(s => s.Reason))
            lines.Add($"not decided, {Count(reason.Count(), "scenario")}: {reason.Key}");
        return lines;
    }

    internal static string Reached(CheckCoverage coverage) =>
        $"{coverage.Functions} of {Count(coverage.AllFunctions, "function")} and {coverage.Blocks} of {Count(coverage.AllBlocks, "block")} of code";

    internal static string Count(long count, string what) => count == 1 ? $"1 {what}" : $"{count} {what}s";
}
