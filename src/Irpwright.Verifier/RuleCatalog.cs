namespace Irpwright.Verification;

/// <summary>Every rule there is: the classes derived from <see cref="Rule"/>, found when the project is built.</summary>
public static partial class RuleCatalog
{
    /// <summary>By family and name.</summary>
    public static IReadOnlyList<RuleInfo> All { get; } =
        [.. Definitions().OrderBy(rule => rule.Family).ThenBy(rule => rule.Name, StringComparer.Ordinal)];

    /// <summary>The rules that are watched for if nobody asks for others: all but advice.</summary>
    public static IReadOnlyList<RuleInfo> Default { get; } = [.. All.Where(rule => rule.Severity != Advice)];

    static readonly Dictionary<string, int> Numbers = All.Index().ToDictionary(rule => rule.Item.Name, rule => rule.Index, StringComparer.Ordinal);

    // One of each, to ask what it watches.
    static readonly Rule[] Samples = [.. All.Select(rule => rule.Create())];

    /// <summary>The place of a rule in <see cref="All"/>.</summary>
    internal static int NumberOf(RuleInfo rule) => Numbers[rule.Name];

    /// <summary>
    /// Numbers of the rules that ask for an event. Known once for all machines: to ask hundreds of objects for dozens of interfaces takes
    /// longer than a short run.
    /// </summary>
    internal static class Watching<TEvent> where TEvent : struct, allows ref struct
    {
        internal static readonly int[] Rules = [.. Samples.Index().Where(rule => rule.Item is IWatch<TEvent>).Select(rule => rule.Index)];
    }

    /// <summary>The rule of that name, or that covers that identifier; null if there is none.</summary>
    public static RuleInfo? Find(string id) => All.FirstOrDefault(rule => rule.Is(id));
}
