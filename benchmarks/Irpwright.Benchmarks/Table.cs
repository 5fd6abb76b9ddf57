namespace Irpwright.Benchmarks;

/// <summary>Figures with their targets, in aligned columns.</summary>
sealed class Table
{
    readonly List<string[]> rows = [["", "figure", "ratio", "target", ""]];

    public void Section(string name)
    {
        rows.Add([]);
        rows.Add([name]);
    }

    /// <summary>A figure that nothing is promised for.</summary>
    public void Add(string name, string figure, string ratio = "") => rows.Add(["  " + name, figure, ratio, "", ""]);

    /// <summary>A figure with its target.</summary>
    public void Add(string name, string figure, string ratio, string target, bool met) =>
        rows.Add(["  " + name, figure, ratio, target, met ? "ok" : "MISSED"]);

    public void Write(TextWriter output)
    {
        int[] widths = [.. Enumerable.Range(0, 5).Select(column => rows.Where(r => r.Length == 5).Max(r => r[column].Length))];
        foreach (string[] row in rows)
        {
            if (row.Length < 5) output.WriteLine(string.Concat(row));
            else output.WriteLine($"{row[0].PadRight(widths[0])}  {row[1].PadLeft(widths[1])}  {row[2].PadLeft(widths[2])}  {row[3].PadLeft(widths[3])}  {row[4]}".TrimEnd());
        }
    }
}
