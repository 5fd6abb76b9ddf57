using System.Globalization;

namespace Irpwright.Checking;

/// <summary>One run of a check as text: <c>check:INPUT[,INPUT...][+0xCODE[:IN[:OUT]]...]#SCENARIO@SCHEDULE</c>.</summary>
/// <param name="Inputs">Drivers, lowest first, a stack file, assemblies with scenarios: as the user named them.</param>
/// <param name="ControlRequests">That the user named.</param>
public sealed record CheckReplay(IReadOnlyList<string> Inputs, IReadOnlyList<ControlRequest> ControlRequests, string Scenario, Schedule Schedule)
{
    const string Prefix = "check:";
    const string CodePrefix = "+0x";

    // In a path they would be taken for something else; the apostrophe by the shell.
    static readonly string[] Escaped = ["%", ",", "'", CodePrefix];

    /// <summary>Reads what <see cref="ToString"/> wrote; null if it is a replay string of another kind.</summary>
    /// <exception cref="FormatException">The text is damaged; says where.</exception>
    public static CheckReplay? Parse(string text)
    {
        if (!text.StartsWith(Prefix, StringComparison.Ordinal)) return null;
        text = text[Prefix.Length..];
        int at = text.LastIndexOf('@'), hash = at < 0 ? -1 : text.LastIndexOf('#', at);
        if (hash <= 0) return null;
        string[] parts = text[..hash].Split(CodePrefix);
        return new([.. parts[0].Split(',').Select(Uri.UnescapeDataString)], [.. parts.Skip(1).Select(ParseRequest)], text[(hash + 1)..at], Schedule.Parse(text[(at + 1)..]));
    }

    static ControlRequest ParseRequest(string text)
    {
        string[] numbers = text.Split(':');
        if (numbers.Length <= 3 && uint.TryParse(numbers[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint code)
            && Length(1, out uint? input) && Length(2, out uint? output))
            return new(code, input, output);
        throw new FormatException($"This is no replay string: '{CodePrefix}{text}' is no control request.");

        bool Length(int index, out uint? length)
        {
            length = null;
            if (numbers.Length <= index || numbers[index].Length == 0) return true;
            bool isNumber = uint.TryParse(numbers[index], NumberStyles.None, CultureInfo.InvariantCulture, out uint value);
            length = value;
            return isNumber;
        }
    }

    public override string ToString() =>
        $"{Prefix}{string.Join(',', Inputs.Select(Escape))}{string.Concat(ControlRequests.Select(request => $"+{request}"))}#{Scenario}@{Schedule}";

    static string Escape(string input) =>
        Escaped.Aggregate(input, static (text, special) => text.Replace(special, Uri.HexEscape(special[0]) + special[1..], StringComparison.Ordinal));
}
