using System.Text.Json;
using Irpwright.Verification;

namespace Irpwright.Cli;

/// <summary>What <c>rules --json</c> prints; docs/results-json.md describes it.</summary>
sealed record RulesJson(int Version, IReadOnlyList<RuleJson> Rules)
{
    public static RulesJson Of(IEnumerable<RuleInfo> rules) => new(1, [.. rules.Select(RuleJson.Of)]);

    public string Serialize() => JsonSerializer.Serialize(this, CliJson.Readable.RulesJson) + "\n";
}

sealed record RuleJson(
    string Name, string Family, string Severity, IReadOnlyList<string> Covers, string? VerifierCode, string Page, string Sees, string Instead,
    string Wrong, string Right)
{
    public static RuleJson Of(RuleInfo rule) => new(
        rule.Name, rule.Family.ToString(), rule.Severity.ToString().ToLowerInvariant(), rule.Covers, rule.Code?.ToString(), rule.Page, rule.Sees,
        rule.Instead, rule.Wrong, rule.Right);
}
