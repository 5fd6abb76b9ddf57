namespace Irpwright.Verification.Tests;

/// <summary>Goal: nothing that Microsoft publishes is forgotten, and no rule is untried.</summary>
public class PublishedRulesTests
{
    /// <summary>Only a compiled driver has sections, and accesses that can be watched.</summary>
    static readonly string[] CompiledOnly = ["IwPageableCompletionRoutine", .. RuleCatalog.All.Where(rule => rule.Family == RuleFamily.Memory).Select(rule => rule.Name)];

    [Fact]
    public void Every_published_row_is_a_rule_or_covered_by_one_or_explained() => Assert.Empty(PublishedRules.All
        .Where(row => RuleDocument.AnswerTo(row) == RuleDocument.Answer.NotYet)
        .Select(row => row.Id));

    [Fact]
    public void No_row_has_two_answers()
    {
        IEnumerable<string> answers = RuleCatalog.All.SelectMany(rule => rule.Covers.Append(rule.Name)).Concat(PublishedRules.Elsewhere.Select(e => e.Id));
        Assert.Empty(answers.GroupBy(id => id, StringComparer.OrdinalIgnoreCase).Where(g => g.Count() > 1).Select(g => g.Key));
    }

    [Fact]
    public void Every_answer_is_to_a_published_row()
    {
        HashSet<string> known = [.. PublishedRules.All.Select(row => row.Id)];
        Assert.DoesNotContain(RuleCatalog.All.SelectMany(rule => rule.Covers).Concat(PublishedRules.Elsewhere.Select(e => e.Id)), id => !known.Contains(id));
    }

    [Fact]
    public void What_is_enforced_elsewhere_says_by_what() =>
        Assert.All(PublishedRules.Elsewhere, e => Assert.True(e.By is "bug check" or "not" && e.Reason.Length > 10, e.Id));

    [Fact]
    public void A_rule_with_a_page_of_its_own_is_a_published_row()
    {
        HashSet<string> known = [.. PublishedRules.All.Select(row => row.Id)];
        Assert.DoesNotContain(RuleCatalog.All, rule => !rule.Name.StartsWith("Iw", StringComparison.Ordinal) && !known.Contains(rule.Name));
    }

    [Fact]
    public void Every_rule_has_a_driver_that_breaks_it_and_a_near_miss()
    {
        HashSet<string> tried = [.. RuleCaseTests.All.Select(c => c.Rule)];
        Assert.Empty(RuleCatalog.All.Select(rule => rule.Name).Except(tried).Except(CompiledOnly));
    }

    [Fact]
    public void Every_rule_about_IRPs_has_a_compiled_driver_that_breaks_it()
    {
        HashSet<string> important = [.. PublishedRules.All.Where(row => row.Class == "P0").Select(row => row.Id)];
        Assert.Empty(RuleCatalog.All
            .Where(rule => important.Contains(rule.Name) || rule.Covers.Any(important.Contains))
            .Select(rule => rule.Name)
            .Except(CompiledRuleTests.Rules)
            .Except(MemoryTests.Rules));
    }

    [Fact]
    public void Every_rule_says_what_the_code_should_be() => Assert.All(RuleCatalog.All, rule =>
    {
        Assert.EndsWith(".", rule.Instead, StringComparison.Ordinal);
        Assert.NotEmpty(rule.Wrong);
        Assert.NotEmpty(rule.Right);
        Assert.NotEqual(rule.Wrong, rule.Right);
    });

    [Fact]
    public void The_document_shows_the_rules()
    {
        string current = RuleDocument.Generate();
        if (Environment.GetEnvironmentVariable("IRPWRIGHT_ACCEPT") == "1") File.WriteAllText(RuleDocument.Path, current);
        string checkedIn = File.Exists(RuleDocument.Path) ? File.ReadAllText(RuleDocument.Path).ReplaceLineEndings("\n") : "";
        Assert.True(checkedIn == current, "docs/rules.md is stale: run this test with the environment variable IRPWRIGHT_ACCEPT=1 and commit the file.");
    }
}
