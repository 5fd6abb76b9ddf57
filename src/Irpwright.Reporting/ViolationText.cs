using Irpwright.Verification;

namespace Irpwright.Reporting;

/// <summary>A broken rule, for people.</summary>
public static class ViolationText
{
    /// <summary>Lines that name rule, place and page, and say what was wrong.</summary>
    public static IReadOnlyList<string> Describe(Violation violation)
    {
        RuleInfo rule = violation.Rule;
        string code = rule.Code is { } verifier ? $"  (Driver Verifier: {verifier})" : "";
        string times = violation.Occurrences > 1 ? $"  {violation.Occurrences} times" : "";
        return
        [
            $"{rule.Severity.ToString().ToUpperInvariant()}  {rule.Name}  {violation.Symbol ?? violation.Driver}{code}{times}",
            $"  {violation.Sentence}",
            $"  {rule.Page}",
        ];
    }
}
