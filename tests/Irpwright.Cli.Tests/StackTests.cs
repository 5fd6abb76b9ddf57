using System.Text.Json;
using System.Text.RegularExpressions;
using Irpwright.Samples;
using Json.Schema;

namespace Irpwright.Cli.Tests;

/// <summary>Stacks given as JSON.</summary>
public class StackTests
{
    static string Quoted(string text) => JsonSerializer.Serialize(text);

    static string Sample(string name) => Quoted(TestFiles.Sample(name));

    static string Write(string json) => TestFiles.Temporary("stack.json", System.Text.Encoding.UTF8.GetBytes(json));

    static string Schedules => """ "schedules": 2 """;

    [Fact]
    public void A_driver_with_hardware_is_checked_with_its_device_model_and_replayed_from_the_file()
    {
        string stack = Write($$"""
            {
              // The model connects itself to the driver's registers.
              "drivers": [{{Sample("startio")}}],
              "hardware": [{{Quoted(typeof(BlockDevice).Assembly.Location + ":BlockDevice")}}],
              "scenarios": { "include": ["load", "read", "thread"], "exclude": ["load-again"] },
              {{Schedules}},
            }
            """);
        string json = TestFiles.Temporary("results.json");
        Command check = Command.Run("check", stack, "--json", json);
        Assert.Equal("", check.Error);
        Assert.EndsWith(@"software driver; \Device\StartIo0", check.Lines[0], StringComparison.Ordinal);
        using var results = JsonDocument.Parse(File.ReadAllText(json));
        Assert.Equal(TestFiles.Sample("startio"), results.RootElement.GetProperty("drivers")[0].GetString());
        string[] scenarios = [.. results.RootElement.GetProperty("scenarios").EnumerateArray().Select(s => s.GetString()!)];
        Assert.Contains("read-sizes", scenarios);
        Assert.DoesNotContain("load-again", scenarios);
        Assert.DoesNotContain("ordinary", scenarios);
        Assert.Equal(3, Command.Run("check", TestFiles.Sample("startio")).ExitCode);
    }

    [Fact]
    public void A_finding_above_a_driver_that_makes_the_device_is_replayed_from_the_file()
    {
        string stack = Write($$"""
            { "device": {{Sample("queue")}}, "drivers": [{{Sample("broken-pending")}}], "scenarios": { "include": ["ordinary", "cancel-read"] } }
            """);
        string json = TestFiles.Temporary("results.json");
        Command check = Command.Run("check", stack, "--json", json, "--schedules", "1");
        Assert.Equal(ExitCode.Violation, check.ExitCode);
        Assert.Contains("IwPendingNotPropagated", check.Output, StringComparison.Ordinal);
        using var results = JsonDocument.Parse(File.ReadAllText(json));
        string replay = results.RootElement.GetProperty("findings")[0].GetProperty("replay").GetString()!;
        Assert.StartsWith($"check:{stack}#", replay, StringComparison.Ordinal);
        Assert.Contains("IwPendingNotPropagated", Command.Run("replay", replay).Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_below_is_a_disk_in_memory_with_its_content_and_is_not_written()
    {
        byte[] content = [.. Enumerable.Range(0, 0x40000).Select(i => (byte)i)];
        string image = TestFiles.Temporary("disk.img", content);
        string stack = Path.Combine(Path.GetDirectoryName(image)!, "stack.json");
        File.WriteAllText(stack, $$"""{ "device": "file:disk.img", "drivers": [{{Sample("passthrough")}}], {{Schedules}} }""");
        Command check = Command.Run("check", stack, "--scenarios", "write", "--scenarios", "pnp", "--scenarios", "power");
        Assert.Equal("", check.Error);
        Assert.Equal(ExitCode.Clean, check.ExitCode);
        Assert.Contains(@"filter driver; \Device\Disk0", check.Lines[0], StringComparison.Ordinal);
        Assert.Equal(content, File.ReadAllBytes(image));
    }

    [Fact]
    public void Services_and_places_are_as_the_file_says()
    {
        string stack = Write($$"""
            {
              "drivers": [
                { "driver": "passthrough", "service": "below", "place": "lowerFilter" },
                { "driver": {{Sample("pnpfunc")}}, "service": "fdo", "place": "function" },
                { "driver": "passthrough", "service": "above", "place": "upperFilter" },
                { "driver": {{Sample("csq")}}, "place": "software" }
              ],
              "registry": ["settings.reg"], "mute": ["@csq"], "seed": 7, "budget": "5m", {{Schedules}}
            }
            """);
        File.WriteAllText(Path.Combine(Path.GetDirectoryName(stack)!, "settings.reg"),
            "REGEDIT4\n\n[HKLM\\SYSTEM\\CurrentControlSet\\Services\\fdo\\Parameters]\n\"Depth\"=dword:00000002\n");
        Command list = Command.Run("check", stack, "--list");
        Assert.Equal(ExitCode.Clean, list.ExitCode);
        Assert.Contains("pnp-surprise ", list.Output, StringComparison.Ordinal);
        string json = TestFiles.Temporary("results.json");
        Command check = Command.Run("check", stack, "--scenarios", "load", "--scenarios", "open", "--json", json);
        Assert.Equal("", check.Error);
        Assert.Contains("Csq0", File.ReadAllText(json), StringComparison.Ordinal);
        Assert.Contains("function driver", check.Lines[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_control_request_is_sent_with_the_lengths_and_bytes_that_are_given()
    {
        string stack = Write($$"""
            {
              "drivers": [{{Quoted(TestFiles.Assembly + ":Guarded")}}],
              "controlRequests": [{ "code": "0x222004", "inputBytes": "070000000b000000", "output": 12 }]
            }
            """);
        Command check = Command.Run("check", stack, "--scenarios", "control-0x00222004");
        Assert.Equal(ExitCode.Violation, check.ExitCode);
        Assert.Contains("MANUALLY_INITIATED_CRASH", check.Output, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Clean, Command.Run("check", TestFiles.Assembly + ":Guarded", "--ioctl", "0x222004", "--scenarios", "control-0x00222004").ExitCode);
    }

    [Fact]
    public void A_device_has_the_resources_that_are_given()
    {
        string driver = Quoted(TestFiles.Assembly + ":Fussy");
        Assert.Contains("the device was not started: STATUS_INSUFFICIENT_RESOURCES",
            Command.Run("check", Write($$"""{ "drivers": [{{driver}}] }""")).AssertComplains(ExitCode.Undecided), StringComparison.Ordinal);
        Command check = Command.Run("check", Write($$"""
            { "drivers": [{{driver}}], "resources": [{ "memory": "0xFE000000", "length": "4KiB" }, { "interrupt": 11 }], "scenarios": { "include": ["load"] } }
            """));
        Assert.Equal((ExitCode.Clean, ""), (check.ExitCode, check.Error));
    }

    [Fact]
    public void Registry_files_are_there_before_the_hardware_that_is_named_after_them()
    {
        string hardware = $""" "hardware": [{Quoted(TestFiles.Assembly + ":Adjusted")}] """;
        string stack = Write($$"""{ "drivers": ["passthrough"], "registry": ["settings.reg"], {{hardware}} }""");
        File.WriteAllText(Path.Combine(Path.GetDirectoryName(stack)!, "settings.reg"), "REGEDIT4\n\n[HKLM\\Software\\Adjusted]\n\"Depth\"=dword:2\n");
        Command check = Command.Run("check", stack, "--scenarios", "load");
        Assert.Equal((ExitCode.Clean, ""), (check.ExitCode, check.Error));
        Assert.Contains("$.hardware[0]: its constructor failed: There are no settings.",
            Command.Run("check", Write($$"""{ "drivers": ["passthrough"], {{hardware}} }""")).AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{ "drivers": [ """, "line 1: is no JSON")]
    [InlineData("[]", "$: write a stack as an object, in { }.")]
    [InlineData("{}", "name the drivers, as in \"drivers\": [\"mydriver.sys\"].")]
    [InlineData("{\n \"driver\": [] }", "line 2, $.driver: a stack has no 'driver'; there are $schema, drivers, device,")]
    [InlineData("""{ "drivers": "queue.sys" }""", "$.drivers: write an array of drivers, bottom up, in [ ].")]
    [InlineData("{ \"drivers\": [\n\n 7] }", "line 3, $.drivers[0]: write a driver as an object")]
    [InlineData("""{ "drivers": ["none.sys"] }""", "$.drivers[0]: ")]
    [InlineData("""{ "drivers": ["passthrough", "passthrough"] }""", "give this one another name with \"service\"")]
    [InlineData("""{ "drivers": [{ "driver": "passthrough", "place": "top" }] }""", "$.drivers[0].place: 'top' is no place; there are lowerFilter, function, upperFilter, software.")]
    [InlineData("""{ "drivers": [{ "driver": "passthrough", "place": "upperFilter" }] }""", "upper filters are above a function driver")]
    [InlineData("""{ "drivers": [{ "service": "x" }] }""", "$.drivers[0]: name the driver")]
    [InlineData("""{ "drivers": ["passthrough"], "device": "floppy:1" }""", "$.device: ")]
    [InlineData("""{ "drivers": ["passthrough"], "device": "ramdisk:none" }""", "the size 'none' is none")]
    [InlineData("""{ "drivers": ["passthrough"], "device": "file:none.img" }""", "paths are relative to this file")]
    [InlineData("""{ "drivers": ["passthrough"], "device": "ramdisk", "resources": [{ "interrupt": 3 }] }""", "leave \"device\" out")]
    [InlineData("""{ "drivers": ["passthrough"], "resources": [{ "memory": "0xFE000000" }] }""", "\"length\": BYTES")]
    [InlineData("""{ "drivers": ["passthrough"], "resources": [{ "interrupt": 24 }] }""", "write a number from 0 to 23")]
    [InlineData("""{ "drivers": ["passthrough"], "hardware": ["Model"] }""", "$.hardware[0]: write Assembly.dll:Type")]
    [InlineData("""{ "drivers": ["passthrough"], "registry": ["none.reg"] }""", "$.registry[0]: there is no file")]
    [InlineData("""{ "drivers": ["passthrough"], "controlRequests": ["read"] }""", "$.controlRequests[0]: write a number")]
    [InlineData("""{ "drivers": ["passthrough"], "controlRequests": [{ "input": 4 }] }""", "name the control code")]
    [InlineData("""{ "drivers": ["passthrough"], "controlRequests": [{ "code": 1, "inputBytes": "0" }] }""", "'0' are no bytes")]
    [InlineData("""{ "drivers": ["passthrough"], "scenarios": ["pnp"] }""", "$.scenarios: write scenarios as an object")]
    [InlineData("""{ "drivers": ["passthrough"], "mute": ["NoRule"] }""", "$.mute[0]: 'NoRule' is no rule")]
    [InlineData("""{ "drivers": ["passthrough"], "budget": "soon" }""", "$.budget: write a time, as \"60s\" or \"5m\".")]
    [InlineData("""{ "drivers": ["passthrough"], "schedules": 0 }""", "$.schedules: write a number from 1")]
    [InlineData("""{ "drivers": ["passthrough"], "advice": 1 }""", "$.advice: write true or false.")]
    [InlineData("""{ "drivers": ["passthrough"], "seed": 1, "seed": 2 }""", "$.seed: there is a 'seed' already.")]
    public void A_mistake_is_one_line_that_names_file_line_and_place_and_says_what_to_write(string json, string message)
    {
        string file = Write(json);
        string complaint = Command.Run("check", file).AssertComplains(ExitCode.BadInput);
        Assert.StartsWith($"irpwright: {file}, line ", complaint, StringComparison.Ordinal);
        Assert.Contains(message, complaint, StringComparison.Ordinal);
    }

    static readonly JsonSchema Schema = JsonSchema.FromText(File.ReadAllText(TestFiles.Document("stack.schema.json")));

    static bool IsValid(string json)
    {
        using var document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip });
        return Schema.Evaluate(document.RootElement).IsValid;
    }

    [Fact]
    public void The_schema_allows_the_example_and_the_samples()
    {
        string document = File.ReadAllText(TestFiles.Document("stack-json.md"));
        Assert.True(IsValid(Regex.Match(document, "```json\n(.*?)```", RegexOptions.Singleline).Groups[1].Value));
        string[] samples = Directory.GetFiles(TestFiles.Samples(""), "*.json");
        Assert.NotEmpty(samples);
        Assert.All(samples, sample => Assert.True(IsValid(File.ReadAllText(sample)), sample));
    }

    [Fact]
    public void The_schema_has_the_members_that_the_document_describes_and_that_the_command_knows()
    {
        using var schema = JsonDocument.Parse(File.ReadAllText(TestFiles.Document("stack.schema.json")));
        string document = File.ReadAllText(TestFiles.Document("stack-json.md"));
        string[] members = [.. schema.RootElement.GetProperty("properties").EnumerateObject().Select(p => p.Name)];
        Assert.All(members, name => Assert.Contains($"`{name}", document, StringComparison.Ordinal));
        string complaint = Command.Run("check", Write("""{ "none": 1 }""")).AssertComplains(ExitCode.BadInput);
        Assert.EndsWith($"there are {string.Join(", ", members)}.", complaint, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("""{ "drivers": [] }""")]
    [InlineData("""{ "drivers": ["a.sys"], "driver": "b.sys" }""")]
    [InlineData("""{ "drivers": [{ "driver": "a.sys", "place": "top" }] }""")]
    [InlineData("""{ "drivers": ["a.sys"], "controlRequests": [{ "input": 4 }] }""")]
    [InlineData("""{ "drivers": ["a.sys"], "resources": [{ "memory": "here" }] }""")]
    [InlineData("""{ "drivers": ["a.sys"], "budget": "soon" }""")]
    public void The_schema_forbids_what_the_command_refuses(string json)
    {
        Assert.False(IsValid(json));
        Assert.Equal(ExitCode.BadInput, Command.Run("check", Write(json.Replace("a.sys", "passthrough", StringComparison.Ordinal))).ExitCode);
    }

    [Fact]
    public void A_mistake_in_a_registration_file_is_located_there()
    {
        string stack = Write("""{ "drivers": ["passthrough"], "registry": ["settings.reg"] }""");
        File.WriteAllText(Path.Combine(Path.GetDirectoryName(stack)!, "settings.reg"), "REGEDIT4\n\n[HKLM\\Software\n");
        Assert.Contains("settings.reg, line 3: ", Command.Run("check", stack).AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
    }

    [Fact]
    public void A_stack_stands_alone() =>
        Assert.Contains("name the other drivers in it", Command.Run("check", "a.json", "passthrough").AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
}
