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
            .. rule.Instead.Length > 0 ? (string[])[$"  {rule.Instead}"] : [],
            $"  {rule.Page}",
        ];
    }

    /// <summary>The same as a page: with the IRP and the last steps before it.</summary>
    /// <param name="irp">The IRP when it happened, see <see cref="IrpText"/>; empty for none.</param>
    /// <param name="steps">The last lines of the story before it.</param>
    /// <param name="reproduce">The command line that leads here again; empty for none.</param>
    public static IReadOnlyList<string> DescribeAtLength(
        Violation violation, IReadOnlyList<string> irp, IReadOnlyList<string> steps, string reproduce)
    {
        List<string> lines = [.. Describe(violation), "", $"  thread       {violation.Thread}, IRQL {violation.Irql}"];
        if (irp.Count > 0) lines.AddRange(["", .. irp.Select(static line => line.Length == 0 ? "" : $"  {line}")]);
        if (steps.Count > 0) lines.AddRange(["", "  last steps", .. steps.Select(static step => $"    {step}")]);
        if (reproduce.Length > 0) lines.AddRange(["", "  to see it again", $"    {reproduce}"]);
        return lines;
    }
}
