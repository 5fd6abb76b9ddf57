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
        Assert.Contains("    IrpwrightNoSuchExport  NOT SUPPORTED  slot 0x5080, used by BrokenImportDispatchRead+0xf", inspect.Lines);
        Assert.Contains(inspect.Lines, l => l.EndsWith("1 not supported: the driver cannot run)", StringComparison.Ordinal));
    }

    [Fact]
    public void The_same_is_there_as_JSON()
    {
        JsonElement image = JsonDocument.Parse(Command.Run("inspect", TestFiles.Sample("broken-import"), "--json").Output).RootElement;
        Assert.False(image.GetProperty("runnable").GetBoolean());
        JsonElement import = Assert.Single(image.GetProperty("imports").EnumerateArray(), i => !i.GetProperty("supported").GetBoolean());
        Assert.Equal("IrpwrightNoSuchExport", import.GetProperty("name").GetString());
        Assert.Equal("0x5080", import.GetProperty("slot").GetString());
        Assert.Equal("BrokenImportDispatchRead+0xf", import.GetProperty("references")[0].GetString());
        Assert.Equal(".text", image.GetProperty("sections")[0].GetProperty("name").GetString());
    }

    /// <summary>The whole page of a driver that does not change.</summary>
    [Fact]
    public void The_page_of_a_driver_looks_like_this()
    {
        string[] lines = Command.Run("inspect", TestFiles.Sample("broken-import")).Lines;
        Assert.Equal(
            [
                "version          none",
                "image            base 0x140000000, 24576 bytes, time stamp 0x00000000",
                "entry            0x11c0  DriverEntry",
                "security cookie  none",
                "control flow     not guarded",
                "imphash          e9a769f23efbe8361ec83de4b0383080",
                "symbols          28, from COFF symbol table",
                "",
                "sections",
                "  .text     0x001000       656 bytes  r-x",
                "  .pdata    0x002000        72 bytes  r--",
                "  .xdata    0x003000        48 bytes  r--",
                "  .edata    0x004000        58 bytes  r--",
                "  .idata    0x005000       372 bytes  rw-",
                "",
                "imports (6, 1 not supported: the driver cannot run)",
                "  ntoskrnl.exe",
                "    IrpwrightNoSuchExport  NOT SUPPORTED  slot 0x5080, used by BrokenImportDispatchRead+0xf",
                "    IoAttachDeviceToDeviceStack",
                "    IoCreateDevice",
                "    IoDeleteDevice",
                "    IoDetachDevice",
                "    IofCallDriver",
                "",
                "exports (none)",
                "",
                "device names (none)",
                "",
                "control codes (none)",
            ],
            lines[1..]);
    }

    [Fact]
    public void An_image_that_can_be_read_but_not_loaded_says_why()
    {
        byte[] bytes = File.ReadAllBytes(TestFiles.Sample("queue"));
        int headers = BitConverter.ToInt32(bytes, 0x3C);
        const int characteristics = 22, relocationsStripped = 1;
        bytes[headers + characteristics] |= relocationsStripped;
        string path = TestFiles.Temporary("stripped.sys", bytes);
        Assert.Contains(Command.Run("inspect", path).Lines, line => line.StartsWith("cannot be loaded IMAGE_FILE_HEADER", StringComparison.Ordinal));
        JsonElement image = JsonDocument.Parse(Command.Run("inspect", path, "--json").Output).RootElement;
        Assert.False(image.GetProperty("runnable").GetBoolean());
        Assert.Contains("IMAGE_FILE_RELOCS_STRIPPED", image.GetProperty("refusal").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Everything_that_drivers_can_import_is_listed_with_its_page()
    {
        Command inspect = Command.Run("inspect", "--exports");
        Assert.Equal((0, ""), (inspect.ExitCode, inspect.Error));
        Assert.Contains(inspect.Lines, line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            is ["IofCallDriver", "<=", "DISPATCH_LEVEL", "wdm/nf-wdm-iocalldriver"]);
        Assert.Contains(inspect.Lines, line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is ["NtBuildNumber", "variable"]);
        Assert.Contains(inspect.Lines, line => line.StartsWith("ntoskrnl.exe (", StringComparison.Ordinal));
        string[] names = [.. inspect.Lines.SkipWhile(l => !l.StartsWith("ntos", StringComparison.Ordinal)).Skip(1).Select(l => l.Trim().Split(' ')[0]).TakeWhile(n => n != "")];
        Assert.Equal(names.Order(StringComparer.Ordinal), names);
    }

    [Fact]
    public void The_list_of_exports_is_there_as_JSON()
    {
        JsonElement exports = JsonDocument.Parse(Command.Run("inspect", "--exports", "--json").Output).RootElement.GetProperty("exports");
        JsonElement wait = Assert.Single(exports.EnumerateArray(), e => e.GetProperty("name").GetString() == "MmGetSystemRoutineAddress");
        Assert.Equal(("routine", 0, 0), (wait.GetProperty("kind").GetString(), wait.GetProperty("minIrql").GetInt32(), wait.GetProperty("maxIrql").GetInt32()));
        Assert.Equal("wdm/nf-wdm-mmgetsystemroutineaddress", wait.GetProperty("page").GetString());
        Assert.Equal("variable", Assert.Single(exports.EnumerateArray(), e => e.GetProperty("name").GetString() == "KeTickCount").GetProperty("kind").GetString());
    }

    [Theory]
    [InlineData]
    [InlineData("driver.sys", "--exports")]
    public void Either_a_driver_or_the_exports_are_asked_for(params string[] args) =>
        Assert.Contains("Name either a driver or --exports", Command.Run(["inspect", .. args]).AssertComplains(2), StringComparison.Ordinal);

    [Theory]
    [InlineData("results-json.md", typeof(ExportsJson))]
    [InlineData("results-json.md", typeof(KernelExportJson))]
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
