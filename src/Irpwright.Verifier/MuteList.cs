namespace Irpwright.Verification;

/// <summary>Which violations are known and not to be reported: by rule, by driver, or by place in a driver.</summary>
/// <remarks>
/// An entry is <c>RULE</c>, <c>@DRIVER</c>, <c>RULE@DRIVER</c> or <c>RULE@DRIVER!FUNCTION</c> (an offset in the function is left
/// out); the rule may be one of the identifiers that a rule covers. Case does not matter. In a file, an entry stands alone on its
/// line and <c>#</c> begins a comment.
/// </remarks>
public sealed class MuteList
{
    readonly record struct Entry(RuleInfo? Rule, string? Driver, string? Function);

    readonly List<Entry> entries = [];

    /// <summary>Adds an entry.</summary>
    /// <exception cref="FormatException">It names no rule that there is, or is malformed; the message says which.</exception>
    public void Add(string entry)
    {
        string[] parts = entry.Trim().Split('@', 2);
        RuleInfo? rule = null;
        if (parts[0].Length > 0 && (rule = RuleCatalog.Find(parts[0])) is null)
            throw new FormatException($"'{parts[0]}' is no rule. `irpwright rules` lists them.");
        string[] place = parts.Length == 2 ? parts[1].Split('!', 2) : [];
        if ((parts.Length == 1 && rule is null) || place.Any(string.IsNullOrEmpty))
            throw new FormatException($"'{entry}' mutes nothing: write RULE, @DRIVER, RULE@DRIVER or RULE@DRIVER!FUNCTION.");
        entries.Add(new(rule, place.ElementAtOrDefault(0), place.ElementAtOrDefault(1)));
    }

    /// <summary>Adds the entries of a file's text.</summary>
    /// <param name="name">The file, for messages.</param>
    /// <exception cref="FormatException">An entry is wrong; the message names file and line.</exception>
    public void AddLines(string text, string name)
    {
        int number = 0;
        foreach (string line in text.Split('\n'))
        {
            number++;
            string entry = line.Split('#', 2)[0].Trim();
            if (entry.Length == 0) continue;
            try
            {
                Add(entry);
            }
            catch (FormatException e)
            {
                throw new FormatException($"{name}({number}): {e.Message}", e);
            }
        }
    }

    internal bool Covers(RuleInfo rule, string? driver, string? symbol)
    {
        foreach (Entry entry in entries)
        {
            if (entry.Rule is { } muted && muted != rule) continue;
            if (entry.Driver is { } name && !name.Equals(driver, StringComparison.OrdinalIgnoreCase)) continue;
            if (entry.Function is { } function && !function.Equals(FunctionOf(symbol), StringComparison.OrdinalIgnoreCase)) continue;
            return true;
        }
        return false;
    }

    // driver!Function+0x12
    static string? FunctionOf(string? symbol) => symbol?.Split('!', 2) is [_, var function] ? function.Split('+', 2)[0] : null;
}
