using System.Globalization;

namespace Irpwright.Checking;

/// <summary>One run of a check as text: <c>check:INPUT[,INPUT...][+0xCODE...]#SCENARIO@SCHEDULE</c>.</summary>
/// <param name="Inputs">Drivers, lowest first, a stack file, assemblies with scenarios: as the user named them.</param>
/// <param name="ControlCodes">That the user named.</param>
public sealed record CheckReplay(IReadOnlyList<string> Inputs, IReadOnlyList<uint> ControlCodes, string Scenario, Schedule Schedule)
{
    const string Prefix = "check:";

    /// <summary>Reads what <see cref="ToString"/> wrote; null if it is a replay string of another kind.</summary>
    /// <exception cref="FormatException">The text is damaged; says where.</exception>
    public static CheckReplay? Parse(string text)
    {
        if (!text.StartsWith(Prefix, StringComparison.Ordinal)) return null;
        text = text[Prefix.Length..];
        int at = text.LastIndexOf('@'), hash = at < 0 ? -1 : text.LastIndexOf('#', at);
        if (hash <= 0) return null;
        string[] parts = text[..hash].Split('+');
        var codes = new List<uint>();
        foreach (string code in parts[1..])
        {
            if (!code.StartsWith("0x", StringComparison.Ordinal)
                || !uint.TryParse(code.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint value))
                throw new FormatException($"'{code}' in the replay string is no control code.");
            codes.Add(value);
        }
        return new(parts[0].Split(','), codes, text[(hash + 1)..at], Schedule.Parse(text[(at + 1)..]));
    }

    public override string ToString() =>
        $"{Prefix}{string.Join(',', Inputs)}{string.Concat(ControlCodes.Select(code => $"+0x{code:X}"))}#{Scenario}@{Schedule}";
}
