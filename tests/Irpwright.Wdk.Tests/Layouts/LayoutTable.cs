using System.Globalization;

namespace Irpwright.Wdk.Tests.Layouts;

/// <summary>A row of layouts.tsv. An empty <paramref name="Field"/> is the structure itself, <paramref name="Value"/> then its size.</summary>
public sealed record LayoutRow(string Structure, string Field, int Value, string Source)
{
    public override string ToString() => Field.Length == 0 ? Structure : $"{Structure}.{Field}";
}

static class LayoutTable
{
    public static IReadOnlyList<LayoutRow> Rows { get; } =
        [.. TabSeparated.Read("layouts.tsv").Select(cells => new LayoutRow(cells[0], cells[1], Hex(cells[2]), cells[3]))];

    static int Hex(string text) => int.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}

static class TabSeparated
{
    /// <summary>The rows of an embedded table; lines that start with # are its head.</summary>
    public static IEnumerable<string[]> Read(string name)
    {
        using Stream stream = typeof(TabSeparated).Assembly.GetManifestResourceStream(name) ?? throw new FileNotFoundException(name);
        using StreamReader reader = new(stream);
        while (reader.ReadLine() is { } line)
            if (line.Length != 0 && line[0] != '#') yield return line.Split('\t');
    }
}
