using System.Reflection;

namespace Irpwright.Verification;

/// <summary>One thing that Microsoft publishes as wrong: a rule, a code of Driver Verifier, a bug check, a warning of Code Analysis.</summary>
/// <param name="Id">The rule's name, or the code: DV-C9-0x228, BC-0x44, CA-28114.</param>
/// <param name="Family">What it is about.</param>
/// <param name="Class">P0: decided where an IRP is sent, completed or handled. P1: other DDIs and policies. P2: the rest.</param>
/// <param name="Dynamic">Whether running a driver can show it: yes, partly or no.</param>
public sealed record PublishedRule(string Id, string Family, string Class, string Dynamic);

/// <summary>A published rule that no rule of ours is needed for, or that cannot be decided.</summary>
/// <param name="By">What enforces it: <c>bug check</c>, or <c>not</c> for nothing.</param>
/// <param name="Reason">Which bug check and the tests that pin it; or why it is not enforced.</param>
public sealed record RuleElsewhere(string Id, string By, string Reason)
{
    public bool IsEnforced => By != "not";
}

/// <summary>What Microsoft publishes, and what becomes of it here.</summary>
public static class PublishedRules
{
    /// <summary>In the order of the list.</summary>
    public static IReadOnlyList<PublishedRule> All { get; } = [.. Rows("published-rules.tsv").Select(row => new PublishedRule(row[0], row[1], row[2], row[3]))];

    /// <summary>What <see cref="RuleCatalog"/> does not cover.</summary>
    public static IReadOnlyList<RuleElsewhere> Elsewhere { get; } = [.. Rows("rules-elsewhere.tsv").Select(row => new RuleElsewhere(row[0], row[1], row[2]))];

    static IEnumerable<string[]> Rows(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name)
            ?? throw new InvalidOperationException($"{name} is not embedded.");
        using var reader = new StreamReader(stream);
        return [.. reader.ReadToEnd().ReplaceLineEndings("\n").Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Skip(1)
            .Where(line => !line.StartsWith('#'))
            .Select(line => line.Split('\t'))];
    }
}
