using System.Globalization;

namespace Irpwright.Wdk.Tests.Layouts;

/// <summary>
/// Goal: the table of Windows layouts is right. Method: compile offsetof and sizeof of each row over independent headers, except for
/// the differences from Windows that mingw-differences.tsv states.
/// </summary>
public sealed class MingwTests
{
    const string Absent = "absent";

    static readonly IReadOnlyList<Difference> Differences =
        [.. TabSeparated.Read("mingw-differences.tsv").Select(cells => new Difference(cells[0], cells[1], cells[2]))];

    static readonly Lazy<Dictionary<LayoutRow, long>> Compiled = new(() =>
    {
        LayoutRow[] rows = [.. LayoutTable.Rows.Where(row => Expected(row) is not null)];
        long[] values = MingwHeaders.Evaluate([.. rows.Select(Expression)]);
        return rows.Zip(values).ToDictionary(pair => pair.First, pair => pair.Second);
    });

    public static TheoryData<string, string> Rows =>
        [.. LayoutTable.Rows.Where(row => Expected(row) is not null).Select(row => (row.Structure, row.Field))];

    [Theory]
    [MemberData(nameof(Rows))]
    public void Compiled_headers_agree(string structure, string field)
    {
        Assert.SkipUnless(MingwHeaders.Present, $"{MingwHeaders.Compiler} with the headers of ddk/ is not installed");
        LayoutRow row = LayoutTable.Rows.Single(row => row.Structure == structure && row.Field == field);

        Assert.Equal($"0x{Expected(row):X}", $"0x{Compiled.Value[row]:X}");
    }

    [Fact]
    public void Every_stated_difference_concerns_a_row_and_differs()
    {
        foreach (Difference difference in Differences)
        {
            LayoutRow[] rows = [.. LayoutTable.Rows.Where(difference.Concerns)];
            Assert.NotEmpty(rows);
            Assert.DoesNotContain(rows, row => difference.Value == $"0x{row.Value:X2}");
        }
    }

    /// <summary>What the headers should say: as Windows, or the stated difference; null where they say nothing.</summary>
    static int? Expected(LayoutRow row)
    {
        string? different = Differences.FirstOrDefault(difference => difference.Concerns(row))?.Value;
        if (different is null) return row.Value;
        return different == Absent ? null : int.Parse(different.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }

    static string Expression(LayoutRow row) => row.Field.Length == 0 ? $"sizeof({row.Structure})" : $"offsetof({row.Structure}, {row.Field})";

    /// <summary>Field <c>*</c> is the structure and all its fields.</summary>
    sealed record Difference(string Structure, string Field, string Value)
    {
        public bool Concerns(LayoutRow row) => row.Structure == Structure && (Field == "*" || row.Field == Field);
    }
}
