using System.Globalization;

namespace Irpwright.Checking;

/// <summary>One run of a check as text: <c>check:INPUT[,INPUT...][+0xCODE...]#SCENARIO@SCHEDULE</c>.</summary>
/// <param name="Inputs">Drivers, lowest first, a stack file, assemblies with scenarios: as the user named them.</param>
/// <param name="ControlCodes">That the user named.</param>
public sealed record CheckReplay(IReadOnlyList<string> Inputs, IReadOnlyList<uint> ControlCodes, string Scenario, Schedule Schedule)
{
    const string Prefix = "check:";
    const string CodePrefix = "+0x";

    /// <summary>Reads what <see cref="ToString"/> wrote; null if it is a replay string of another kind.</summary>
    /// <exception cref="FormatException">The text is damaged; says where.</exception>
    public static CheckReplay? Parse(string text)
    {
        if (!text.StartsWith(Prefix, StringComparison.Ordinal)) return null;
        text = text[Prefix.Length..];
        int at = text.LastIndexOf('@'), hash = at < 0 ? -1 : text.LastIndexOf('#', at);
        if (hash <= 0) return null;
        string inputs = text[..hash];
        var codes = new List<uint>();
        // A path may hold plus signs as well.
        while (inputs.LastIndexOf(CodePrefix, StringComparison.Ordinal) is > 0 and int plus && TryCode(inputs[(plus + CodePrefix.Length)..], out uint code))
        {
            codes.Insert(0, code);
            inputs = inputs[..plus];
        }
        return new(inputs.Split(','), codes, text[(hash + 1)..at], Schedule.Parse(text[(at + 1)..]));
    }

    static bool TryCode(string digits, out uint code) => uint.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out code);

    public override string ToString() =>
        $"{Prefix}{string.Join(',', Inputs)}{string.Concat(ControlCodes.Select(code => $"{CodePrefix}{code:X}"))}#{Scenario}@{Schedule}";
}
