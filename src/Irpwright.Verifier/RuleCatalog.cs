namespace Irpwright.Verification;

/// <summary>Every rule there is: the classes derived from <see cref="Rule"/>, found when the project is built.</summary>
public static partial class RuleCatalog
{
    /// <summary>By family and name.</summary>
    public static IReadOnlyList<RuleInfo> All { get; } =
        [.. Definitions().OrderBy(rule => rule.Family).ThenBy(rule => rule.Name, StringComparer.Ordinal)];

    /// <summary>The rules that are watched for if nobody asks for others: all but advice.</summary>
    public static IReadOnlyList<RuleInfo> Default { get; } = [.. All.Where(rule => rule.Severity != Advice)];

    /// <summary>The rule of that name, or that covers that identifier; null if there is none.</summary>
    public static RuleInfo? Find(string id) => All.FirstOrDefault(rule => rule.Is(id));
}
