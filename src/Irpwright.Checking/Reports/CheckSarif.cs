using System.Text.Json;

namespace Irpwright.Checking.Reports;

/// <summary>Findings as SARIF 2.1.0, which code scanning services read.</summary>
/// <seealso href="https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html"/>
public static class CheckSarif
{
    const string Schema = "https://json.schemastore.org/sarif-2.1.0.json";

    /// <param name="drivers">As the user named them.</param>
    /// <param name="version">Of the tool.</param>
    public static void Write(Stream output, CheckResult result, IReadOnlyList<string> drivers, string version)
    {
        using var json = new Utf8JsonWriter(output, new JsonWriterOptions { Indented = true, NewLine = "\n" });
        string[] rules = [.. result.Findings.Select(finding => finding.Failure.Name).Distinct()];
        json.WriteStartObject();
        json.WriteString("$schema", Schema);
        json.WriteString("version", "2.1.0");
        json.WriteStartArray("runs");
        json.WriteStartObject();
        WriteTool(json, result, rules, version);
        json.WriteStartArray("artifacts");
        foreach (string driver in drivers)
        {
            json.WriteStartObject();
            json.WriteStartObject("location");
            json.WriteString("uri", Uri(driver));
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("results");
        foreach (CheckFinding finding in result.Findings) WriteResult(json, finding, Array.IndexOf(rules, finding.Failure.Name), drivers);
        json.WriteEndArray();
        json.WriteStartArray("invocations");
        json.WriteStartObject();
        json.WriteBoolean("executionSuccessful", result.Skipped.Count == 0);
        json.WriteStartArray("toolExecutionNotifications");
        foreach (SkippedScenario skipped in result.Skipped)
        {
            json.WriteStartObject();
            WriteMessage(json, $"{skipped.Scenario} was not decided: {skipped.Reason}");
            json.WriteString("level", "warning");
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
    }

    static void WriteTool(Utf8JsonWriter json, CheckResult result, string[] rules, string version)
    {
        json.WriteStartObject("tool");
        json.WriteStartObject("driver");
        json.WriteString("name", "Irpwright");
        json.WriteString("version", version);
        json.WriteStartArray("rules");
        foreach (string rule in rules)
        {
            CheckFinding first = result.Findings.First(finding => finding.Failure.Name == rule);
            json.WriteStartObject();
            json.WriteString("id", rule);
            json.WriteStartObject("shortDescription");
            json.WriteString("text", first.Rule?.Sees ?? (first.Failure.Kind == FailureKind.Hang ? "Nothing can ever run again." : $"The system stops with {rule}."));
            json.WriteEndObject();
            if (first.Rule is { Instead.Length: > 0 } known)
            {
                json.WriteStartObject("help");
                json.WriteString("text", known.Instead);
                json.WriteEndObject();
            }
            if (first.Failure.Page is { } page) json.WriteString("helpUri", page);
            json.WriteStartObject("defaultConfiguration");
            json.WriteString("level", Level(first.Severity));
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    static void WriteResult(Utf8JsonWriter json, CheckFinding finding, int rule, IReadOnlyList<string> drivers)
    {
        json.WriteStartObject();
        json.WriteString("ruleId", finding.Failure.Name);
        json.WriteNumber("ruleIndex", rule);
        json.WriteString("level", Level(finding.Severity));
        WriteMessage(json, finding.Failure.Sentence);
        json.WriteStartArray("locations");
        json.WriteStartObject();
        json.WriteStartObject("physicalLocation");
        json.WriteStartObject("artifactLocation");
        string driver = drivers.FirstOrDefault(d => IsPlaceIn(finding.Failure.Place, d)) ?? drivers[^1];
        json.WriteString("uri", Uri(driver));
        json.WriteNumber("index", drivers.ToList().IndexOf(driver));
        json.WriteEndObject();
        json.WriteEndObject();
        if (finding.Failure.Place is { } place)
        {
            json.WriteStartArray("logicalLocations");
            json.WriteStartObject();
            json.WriteString("fullyQualifiedName", place);
            json.WriteString("kind", "function");
            json.WriteEndObject();
            json.WriteEndArray();
        }
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteStartObject("partialFingerprints");
        json.WriteString("irpwrightPlace/v1", $"{finding.Failure.Name}:{finding.Failure.Place}");
        json.WriteEndObject();
        json.WriteStartObject("properties");
        json.WriteString("scenario", finding.Scenario.Id);
        json.WriteString("replay", finding.Replay);
        json.WriteString("report", string.Join('\n', finding.Report));
        json.WriteEndObject();
        json.WriteEndObject();
    }

    static void WriteMessage(Utf8JsonWriter json, string text)
    {
        json.WriteStartObject("message");
        json.WriteString("text", text);
        json.WriteEndObject();
    }

    static bool IsPlaceIn(string? place, string driver) =>
        place is not null && place.StartsWith(Path.GetFileNameWithoutExtension(driver) + "!", StringComparison.OrdinalIgnoreCase);

    static string Uri(string path) => new Uri(path, UriKind.RelativeOrAbsolute) is { IsAbsoluteUri: true } absolute
        ? absolute.AbsoluteUri
        : System.Uri.EscapeDataString(path.Replace('\\', '/')).Replace("%2F", "/", StringComparison.Ordinal);

    static string Level(Severity severity) => severity switch
    {
        Severity.Error => "error",
        Severity.Warning => "warning",
        _ => "note",
    };
}
