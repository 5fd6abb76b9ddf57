using System.Text.Json;

namespace Irpwright.Cli.Tests;

public class InspectTests
{
    [Fact]
    public void Imports_names_and_sections_are_listed()
    {
        Command inspect = Command.Run("inspect", TestFiles.Sample("queue"));
        Assert.Equal(0, inspect.ExitCode);
        Assert.Equal("", inspect.Error);
        Assert.Contains("    IoCreateDevice", inspect.Lines);
        Assert.Contains(@"  \Device\Queue0", inspect.Lines);
        Assert.EndsWith("r-x", Line("  .text"), StringComparison.Ordinal);
        Assert.EndsWith("all supported)", Line("imports ("), StringComparison.Ordinal);

        string Line(string start) => Assert.Single(inspect.Lines, line => line.StartsWith(start, StringComparison.Ordinal));
    }

    [Fact]
    public void Control_codes_are_taken_apart()
    {
        Command inspect = Command.Run("inspect", TestFiles.Sample("syncquery"));
        Assert.Contains("  0x00226000  METHOD_BUFFERED  device type 0x22, function 0x800, access read", inspect.Lines);
    }

    [Fact]
    public void An_unsupported_import_stands_out()
    {
        Command inspect = Command.Run("inspect", TestFiles.Sample("broken-import"));
        Assert.Equal(0, inspect.ExitCode);
        Assert.Contains("    IrpwrightNoSuchExport  NOT SUPPORTED", inspect.Lines);
        Assert.Contains(inspect.Lines, l => l.EndsWith("1 not supported: the driver cannot run)", StringComparison.Ordinal));
    }

    [Fact]
    public void The_same_is_there_as_JSON()
    {
        JsonElement image = JsonDocument.Parse(Command.Run("inspect", TestFiles.Sample("broken-import"), "--json").Output).RootElement;
        Assert.False(image.GetProperty("runnable").GetBoolean());
        JsonElement import = Assert.Single(image.GetProperty("imports").EnumerateArray(), i => !i.GetProperty("supported").GetBoolean());
        Assert.Equal("IrpwrightNoSuchExport", import.GetProperty("name").GetString());
        Assert.Equal(".text", image.GetProperty("sections")[0].GetProperty("name").GetString());
    }

    [Theory]
    [InlineData("results-json.md", typeof(RunJson))]
    [InlineData("results-json.md", typeof(RequestJson))]
    [InlineData("results-json.md", typeof(OutcomeJson))]
    [InlineData("results-json.md", typeof(BugCheckJson))]
    [InlineData("results-json.md", typeof(ViolationJson))]
    [InlineData("results-json.md", typeof(ImageJson))]
    [InlineData("results-json.md", typeof(SectionJson))]
    [InlineData("results-json.md", typeof(ImportJson))]
    [InlineData("results-json.md", typeof(ExportJson))]
    [InlineData("results-json.md", typeof(ControlCodeJson))]
    public void Every_field_is_documented(string document, Type type)
    {
        string text = File.ReadAllText(TestFiles.Document(document));
        foreach (string name in type.GetProperties().Select(p => p.Name))
            Assert.Matches($"[`.]{char.ToLowerInvariant(name[0])}{name[1..]}`", text);
    }
}
