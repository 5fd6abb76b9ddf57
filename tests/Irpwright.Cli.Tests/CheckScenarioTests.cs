using System.Text.Json;
using Irpwright.Checking;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Cli.Tests;

/// <summary>For drivers that are checked.</summary>
public static class BenchScenarios
{
    /// <summary>True of the sample csq under every schedule.</summary>
    [Scenario]
    public static void A_write_ends_a_read(CheckBench bench)
    {
        using DeviceHandle device = bench.Open();
        IoOperation read = device.StartRead(new byte[4]);
        device.Write(new byte[4]);
        if (read.Wait().Status != NTSTATUS.STATUS_SUCCESS) throw new InvalidOperationException("The read failed.");
    }

    /// <summary>True unless the writer is faster.</summary>
    [Scenario]
    public static void A_read_waits(CheckBench bench)
    {
        using DeviceHandle device = bench.Open();
        bool isOver = false;
        bench.Machine.RunTogether(
            () =>
            {
                IoOperation read = device.StartRead(new byte[4]);
                bool waited = read.Cancel();
                read.Wait();
                if (!waited && isOver) throw new TimeoutException("The bytes came\nbefore the read was cancelled.");
            },
            () =>
            {
                device.Write(new byte[4]);
                isOver = true;
            });
    }

    /// <summary>The same expectation as another scenario: not the same finding.</summary>
    [Scenario]
    public static Task Nothing_is_as_expected(CheckBench bench) => throw new TimeoutException($"{bench.DeviceNames.Count} devices");
}

/// <summary>Scenarios of assemblies in check.</summary>
public class CheckScenarioTests
{
    static string Scenario(string name) => $"{TestFiles.Assembly}#{name}";

    [Fact]
    public void A_scenario_with_drivers_of_its_own_is_searched_and_its_finding_replayed()
    {
        string json = TestFiles.Temporary("check.json"), sarif = TestFiles.Temporary("check.sarif"), junit = TestFiles.Temporary("check.xml");
        Command check = Command.Run("check", Scenario("LocksInTwoOrders"), Scenario("LocksInOneOrder"), "--json", json, "--sarif", sarif, "--junit", junit);
        Assert.Equal((ExitCode.Violation, ""), (check.ExitCode, check.Error));
        Assert.Contains("scenarios with drivers of their own", check.Lines[0], StringComparison.Ordinal);
        Assert.Contains("IwLockOrder", check.Output, StringComparison.Ordinal);
        using var results = JsonDocument.Parse(File.ReadAllText(json));
        Assert.Equal("none", results.RootElement.GetProperty("role").GetString());
        Assert.Equal(2, results.RootElement.GetProperty("scenarios").GetArrayLength());
        JsonElement finding = results.RootElement.GetProperty("findings")[0];
        Assert.EndsWith("LocksInTwoOrders", finding.GetProperty("scenario").GetString(), StringComparison.Ordinal);
        Assert.Contains("IwLockOrder", File.ReadAllText(sarif), StringComparison.Ordinal);
        Assert.Contains("<failure", File.ReadAllText(junit), StringComparison.Ordinal);
        Command again = Command.Run("replay", finding.GetProperty("replay").GetString()!);
        Assert.Equal((ExitCode.Violation, ""), (again.ExitCode, again.Error));
        Assert.Contains("IwLockOrder", again.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_scenario_that_cannot_go_on_because_a_kernel_routine_failed_is_no_finding()
    {
        string json = TestFiles.Temporary("check.json");
        Command check = Command.Run("check", Scenario("Awaits"), "--schedules", "2", "--json", json);
        Assert.Equal((ExitCode.Clean, ""), (check.ExitCode, check.Error));
        using var results = JsonDocument.Parse(File.ReadAllText(json));
        Assert.True(results.RootElement.GetProperty("faults").GetInt32() > 0);
        Assert.Equal(results.RootElement.GetProperty("faults").GetInt32() + 3, results.RootElement.GetProperty("runs").GetInt64());
    }

    [Fact]
    public void Scenarios_for_a_driver_run_next_to_the_battery_and_what_each_finds_is_its_own()
    {
        string json = TestFiles.Temporary("check.json");
        Command check = Command.Run("check", TestFiles.Sample("csq"), TestFiles.Assembly, "--scenarios", "load", "--scenarios", "Irpwright", "--json", json);
        Assert.Equal((ExitCode.Violation, ""), (check.ExitCode, check.Error));
        using var results = JsonDocument.Parse(File.ReadAllText(json));
        string[] scenarios = [.. results.RootElement.GetProperty("scenarios").EnumerateArray().Select(s => s.GetString()!)];
        Assert.Contains("load", scenarios);
        Assert.Contains("Irpwright.Cli.Tests.BenchScenarios.A_write_ends_a_read", scenarios);
        JsonElement[] findings = [.. results.RootElement.GetProperty("findings").EnumerateArray()];
        string[] places = [.. findings.Select(f => f.GetProperty("place").GetString()!).Order(StringComparer.Ordinal)];
        Assert.Equal(["Irpwright.Cli.Tests.BenchScenarios.A_read_waits", "Irpwright.Cli.Tests.BenchScenarios.Nothing_is_as_expected"], places);
        Assert.All(findings, finding =>
        {
            Assert.Equal("scenario", finding.GetProperty("kind").GetString());
            Command again = Command.Run("replay", finding.GetProperty("replay").GetString()!);
            Assert.Equal((ExitCode.Violation, ""), (again.ExitCode, again.Error));
            Assert.Contains($"TimeoutException  {finding.GetProperty("place").GetString()}", again.Output, StringComparison.Ordinal);
            Assert.Contains("last steps", again.Output, StringComparison.Ordinal);
        });
    }

    [Fact]
    public void A_stack_file_can_name_them()
    {
        string stack = TestFiles.Temporary("stack.json");
        File.WriteAllText(stack, JsonSerializer.Serialize(new
        {
            drivers = (string[])[TestFiles.Sample("csq")],
            scenarios = new { assemblies = (string[])[Scenario("A_write_ends_a_read")], include = (string[])["Irpwright"] },
        }));
        Command list = Command.Run("check", stack, "--list");
        Assert.Equal("Irpwright.Cli.Tests.BenchScenarios.A_write_ends_a_read  A write ends a read", list.Lines[^1]);
        Assert.StartsWith("0 findings in 1 scenario", Command.Run("check", stack, "--schedules", "20").Lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void What_fits_neither_way_says_why()
    {
        string drivers = typeof(Samples.BlockDevice).Assembly.Location;
        Assert.Contains("no scenario; mark public methods that take a Machine", Command.Run("check", drivers).AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
        Assert.Contains("no scenario; mark public methods that take a CheckBench",
            Command.Run("check", TestFiles.Sample("csq"), drivers).AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
        Assert.Contains("no scenario 'A_read_waits'; it contains", Command.Run("check", Scenario("A_read_waits")).AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
        Assert.Contains("no scenario 'A_read_waits'; it contains", Command.Run("explore", Scenario("A_read_waits")).AssertComplains(ExitCode.BadInput), StringComparison.Ordinal);
    }
}
