using System.Globalization;
using System.Text;

namespace Irpwright.Verification.Tests;

/// <summary>docs/rules.md: what is enforced, row by row of the published list.</summary>
static class RuleDocument
{
    public static string Root { get; } = FindRoot();

    public static string Path { get; } = System.IO.Path.Combine(Root, "docs", "rules.md");

    /// <summary>What becomes of a row.</summary>
    public enum Answer
    {
        Rule,
        BugCheck,
        Not,
        NotYet,
    }

    static readonly Dictionary<string, RuleElsewhere> Elsewhere = PublishedRules.Elsewhere.DistinctBy(e => e.Id).ToDictionary(e => e.Id, StringComparer.Ordinal);

    public static Answer AnswerTo(PublishedRule row) =>
        RuleCatalog.Find(row.Id) is not null ? Answer.Rule
        : !Elsewhere.TryGetValue(row.Id, out RuleElsewhere? elsewhere) ? Answer.NotYet
        : elsewhere.IsEnforced ? Answer.BugCheck : Answer.Not;

    public static string Generate()
    {
        StringBuilder text = new("""
            # Rules

            What Microsoft publishes as wrong, and what becomes of it in Irpwright: the rules of Static Driver Verifier and of the DDI compliance
            checks, the codes of Driver Verifier, the bug checks of driver faults, and the warnings of Code Analysis that a run can show. One rule
            covers all the rows that are the same observation. `irpwright rules NAME` shows a rule with wrong and right code; NAME may be any of
            the identifiers below. This file is generated: run the tests of the verifier with `IRPWRIGHT_ACCEPT=1`.

            P0 is decided where an IRP is sent, completed or handled; P1 is about other DDIs and policies; P2 is the rest.

            | Family | Rows | By a rule | By a bug check | Not | Not yet |
            |---|---:|---:|---:|---:|---:|

            """);
        foreach (IGrouping<string, PublishedRule> family in PublishedRules.All.GroupBy(row => row.Family).OrderBy(g => g.Key, StringComparer.Ordinal))
            AddCounts(text, family.Key, [.. family]);
        AddCounts(text, "**all**", PublishedRules.All);
        text.Append("\n| Class | Rows | By a rule | By a bug check | Not | Not yet |\n|---|---:|---:|---:|---:|---:|\n");
        foreach (IGrouping<string, PublishedRule> rows in PublishedRules.All.GroupBy(row => row.Class).OrderBy(g => g.Key, StringComparer.Ordinal))
            AddCounts(text, rows.Key, [.. rows]);
        HashSet<string> published = [.. PublishedRules.All.Select(row => row.Id)];
        int ours = RuleCatalog.All.Count(rule => !published.Contains(rule.Name) && rule.Covers.Count == 0);
        text.Append(CultureInfo.InvariantCulture,
            $"\n{RuleCatalog.All.Count} rules, {RuleCatalog.All.Count - RuleCatalog.Default.Count} of them advice, which is only given on request; {ours} cover no row and come from other pages.\n");
        foreach (IGrouping<RuleFamily, RuleInfo> family in RuleCatalog.All.GroupBy(rule => rule.Family))
        {
            text.Append(CultureInfo.InvariantCulture, $"\n## {family.Key}\n\n| Rule | Severity | Covers | Sees |\n|---|---|---|---|\n");
            foreach (RuleInfo rule in family)
                text.Append(CultureInfo.InvariantCulture, $"| [{rule.Name}]({rule.Page}) | {rule.Severity} | {string.Join(", ", rule.Covers)} | {rule.Sees.Replace("|", "\\|", StringComparison.Ordinal)} |\n");
        }
        AddElsewhere(text, "Enforced by a bug check", "The machine stops by itself; a rule would say the same.", Answer.BugCheck);
        AddElsewhere(text, "Not enforced", "What a run cannot decide, or what does not exist here.", Answer.Not);
        string[] open = [.. PublishedRules.All.Where(row => AnswerTo(row) == Answer.NotYet).Select(row => row.Id)];
        if (open.Length > 0) text.Append(CultureInfo.InvariantCulture, $"\n## Not yet\n\n{string.Join(", ", open)}.\n");
        return text.ToString().ReplaceLineEndings("\n");
    }

    static void AddCounts(StringBuilder text, string name, IReadOnlyCollection<PublishedRule> rows)
    {
        text.Append(CultureInfo.InvariantCulture, $"| {name} | {rows.Count} |");
        foreach (Answer answer in Enum.GetValues<Answer>()) text.Append(CultureInfo.InvariantCulture, $" {rows.Count(row => AnswerTo(row) == answer)} |");
        text.Append('\n');
    }

    static void AddElsewhere(StringBuilder text, string title, string says, Answer answer)
    {
        text.Append(CultureInfo.InvariantCulture, $"\n## {title}\n\n{says}\n\n| Row | Class | Reason |\n|---|---|---|\n");
        foreach (PublishedRule row in PublishedRules.All.Where(row => AnswerTo(row) == answer))
            text.Append(CultureInfo.InvariantCulture, $"| {row.Id} | {row.Class} | {Elsewhere[row.Id].Reason.Replace("|", "\\|", StringComparison.Ordinal)} |\n");
    }

    static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "Irpwright.slnx"))) return folder.FullName;
        }
        throw new DirectoryNotFoundException($"{AppContext.BaseDirectory} is not inside the repository.");
    }
}
