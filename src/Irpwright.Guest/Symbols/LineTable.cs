namespace Irpwright.Guest.Symbols;

/// <summary>Which source line each piece of code comes from.</summary>
sealed class LineTable
{
    /// <summary>Code from <see cref="Rva"/> up to the next row; <see cref="Number"/> 0 ends a piece without beginning another.</summary>
    internal readonly record struct Row(uint Rva, string File, int Number);

    readonly Row[] rows;

    /// <param name="rows">In any order; where several begin at an address, the last one with a line counts.</param>
    public LineTable(IReadOnlyList<Row> rows)
    {
        var ordered = new List<Row>();
        foreach (Row row in rows.OrderBy(row => row.Rva))
        {
            if (ordered.Count > 0 && ordered[^1].Rva == row.Rva)
            {
                // The end of one function is often the beginning of the next.
                if (row.Number != 0) ordered[^1] = row;
            }
            else
            {
                ordered.Add(row);
            }
        }
        this.rows = [.. ordered];
    }

    public bool IsEmpty => rows.Length == 0;

    public SourceLine? Find(uint rva)
    {
        int low = 0, high = rows.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (rows[middle].Rva <= rva) low = middle + 1;
            else high = middle;
        }
        return low > 0 && rows[low - 1] is { Number: > 0 } row ? new SourceLine(row.File, row.Number) : null;
    }
}
