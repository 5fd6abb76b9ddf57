namespace Irpwright.Wdk.Tests.Layouts;

/// <summary>Goal: layouts are byte-exact. Method: compare the runtime's layout with a table whose numbers come from outside.</summary>
public sealed class LayoutTests
{
    public static TheoryData<string, string> Rows => [.. LayoutTable.Rows.Select(row => (row.Structure, row.Field))];

    public static TheoryData<string> Structures => [.. DeclaredLayouts.Types.Select(type => type.Name)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void Offset_or_size_is_that_of_Windows(string structure, string field)
    {
        LayoutRow row = LayoutTable.Rows.Single(row => row.Structure == structure && row.Field == field);
        Type layout = DeclaredLayouts.Types.Single(type => type.Name == structure);

        int declared = field.Length == 0 ? DeclaredLayouts.SizeOf(layout) : DeclaredLayouts.OffsetOf(layout, field);

        Assert.Equal($"0x{row.Value:X}", $"0x{declared:X}");
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void Every_declared_field_is_in_the_table(string structure)
    {
        Type layout = DeclaredLayouts.Types.Single(type => type.Name == structure);
        string[] known = [.. LayoutTable.Rows.Where(row => row.Structure == structure).Select(row => row.Field)];

        Assert.Empty(DeclaredLayouts.Paths(layout).Prepend("").Except(known));
    }

    [Theory]
    [MemberData(nameof(Structures))]
    public void The_SizeOf_constant_is_the_size(string structure)
    {
        Type layout = DeclaredLayouts.Types.Single(type => type.Name == structure);

        Assert.Equal(DeclaredLayouts.SizeOf(layout), (int)layout.GetField("SizeOf")!.GetRawConstantValue()!);
    }
}
