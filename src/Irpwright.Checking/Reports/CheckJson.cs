using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Irpwright.Checking.Reports;

/// <summary>What <c>check --json</c> writes; docs/results-json.md describes it.</summary>
public sealed record CheckJson
{
    public int Version { get; init; } = 1;

    public required int ExitCode { get; init; }

    public required IReadOnlyList<string> Drivers { get; init; }

    public required string Role { get; init; }

    public required IReadOnlyList<string> Devices { get; init; }

    public required IReadOnlyList<string> ControlCodes { get; init; }

    public required IReadOnlyList<FindingJson> Findings { get; init; }

    public required IReadOnlyList<string> Scenarios { get; init; }

    public required long Runs { get; init; }

    public required int Faults { get; init; }

    public required int Muted { get; init; }

    public required IReadOnlyList<SkippedScenario> Skipped { get; init; }

    public required CheckCoverage Coverage { get; init; }

    public static CheckJson Of(CheckResult result, IReadOnlyList<string> drivers, int exitCode) => new()
    {
        ExitCode = exitCode,
        Drivers = drivers,
        Role = result.Profile.Role.ToString().ToLowerInvariant(),
        Devices = result.Profile.Devices,
        ControlCodes = [.. result.Profile.ControlRequests.Select(request => $"0x{request.Code:X8}")],
        Findings = [.. result.Findings.Select(FindingJson.Of)],
        Scenarios = [.. result.Ran.Select(scenario => scenario.Id)],
        Runs = result.Runs,
        Faults = result.Faults,
        Muted = result.Muted,
        Skipped = result.Skipped,
        Coverage = result.Coverage,
    };

    public string Serialize() => JsonSerializer.Serialize(this, CheckJsonContext.Readable.CheckJson) + "\n";
}

/// <summary>A finding of <see cref="CheckJson"/>.</summary>
public sealed record FindingJson(
    string Kind, string Name, string Severity, IReadOnlyList<string>? Covers, string? Page, string Sentence, string? Place, string Scenario, int Scenarios,
    string Replay, IReadOnlyList<string> Report)
{
    public static FindingJson Of(CheckFinding finding) => new(
        Camel(finding.Failure.Kind.ToString()), finding.Failure.Name, finding.Severity.ToString().ToLowerInvariant(),
        finding.Rule?.Covers is { Count: > 0 } covers ? covers : null, finding.Failure.Page, finding.Failure.Sentence, finding.Failure.Place,
        finding.Scenario.Id, finding.Scenarios, finding.Replay, finding.Report);

    static string Camel(string name) => char.ToLowerInvariant(name[0]) + name[1..];
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true, NewLine = "\n")]
[JsonSerializable(typeof(CheckJson))]
sealed partial class CheckJsonContext : JsonSerializerContext
{
    /// <summary>Writes names of devices and routines as they are, not escaped for HTML.</summary>
    public static CheckJsonContext Readable => field ??= new(
        new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
