using System.Text.Json;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Cli.Tests;

/// <summary>What the tests explore.</summary>
public sealed class Scenarios
{
    /// <summary>Two threads take two spin locks in different orders.</summary>
    [Scenario]
    public void LocksInTwoOrders(Machine machine) => Lock(machine, inOneOrder: false);

    [Scenario]
    public static void LocksInOneOrder(Machine machine) => Lock(machine, inOneOrder: true);

    [Scenario]
    public async Task Awaits(Machine machine)
    {
        using DeviceHandle disk = DeviceStack.Build(machine, new RamDisk(4096)).Open();
        await disk.ReadAsync(new byte[512]);
    }

    static void Lock(Machine machine, bool inOneOrder)
    {
        PKSPIN_LOCK a = New(machine), b = New(machine);
        machine.RunTogether(() => LockBoth(machine, a, b), () => LockBoth(machine, inOneOrder ? a : b, inOneOrder ? b : a));
    }

    static PKSPIN_LOCK New(Machine machine)
    {
        var created = new PKSPIN_LOCK(machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, KSPIN_LOCK.SizeOf, 1).Address);
        machine.SpinLocks.KeInitializeSpinLock(created);
        return created;
    }

    static void LockBoth(Machine machine, PKSPIN_LOCK first, PKSPIN_LOCK second)
    {
        byte irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(first);
        machine.SpinLocks.KeAcquireSpinLockAtDpcLevel(second);
        machine.SpinLocks.KeReleaseSpinLockFromDpcLevel(second);
        machine.SpinLocks.KeReleaseSpinLock(first, irql);
    }
}

public class ExploreTests
{
    static string Scenario(string name) => $"{TestFiles.Assembly}#{name}";

    [Fact]
    public void A_finding_is_shown_and_replayed()
    {
        string json = TestFiles.Temporary("results.json");
        Command found = Command.Run("explore", Scenario("LocksInTwoOrders"), "--json", json);
        Assert.Equal((1, ""), (found.ExitCode, found.Error));
        Assert.Contains("IwLockOrder", found.Output, StringComparison.Ordinal);
        string reference = found.Lines[^1].Trim()["irpwright replay '".Length..^1];

        foreach (string argument in (string[])[reference, json])
        {
            Command again = Command.Run("replay", argument);
            Assert.Equal((1, ""), (again.ExitCode, again.Error));
            Assert.Contains("IwLockOrder", again.Output, StringComparison.Ordinal);
        }
        using var document = JsonDocument.Parse(File.ReadAllText(json));
        JsonElement scenario = Assert.Single(document.RootElement.GetProperty("scenarios").EnumerateArray());
        Assert.Equal("rule", scenario.GetProperty("finding").GetProperty("kind").GetString());
        Assert.Equal(0, scenario.GetProperty("finding").GetProperty("preemptions").GetInt32());
    }

    [Fact]
    public void All_scenarios_of_an_assembly_are_run()
    {
        Command all = Command.Run("explore", TestFiles.Assembly, "--schedules", "50");
        Assert.Equal(1, all.ExitCode);
        Assert.Contains("Irpwright.Cli.Tests.Scenarios.Awaits  nothing found in 50 schedules\n", all.Output, StringComparison.Ordinal);
        Assert.Contains("Irpwright.Cli.Tests.Scenarios.LocksInOneOrder  nothing found in 50 schedules\n", all.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Depth_first_search_says_that_it_has_run_everything()
    {
        Command all = Command.Run("explore", Scenario("LocksInOneOrder"), "--strategy", "dfs", "--preemptions", "1");
        Assert.Equal(0, all.ExitCode);
        Assert.EndsWith(" schedules, every one with at most 1 preemptions\n", all.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_replay_string_is_refused_with_the_place()
    {
        string line = Command.Run("replay", Scenario("LocksInTwoOrders") + "@iw1AA!A").AssertComplains(2);
        Assert.Equal("irpwright: The replay string is damaged at character 6: '!' does not occur in one.", line);
    }

    [Fact]
    public void A_replay_of_another_scenario_is_undecided()
    {
        Command found = Command.Run("explore", Scenario("LocksInTwoOrders"));
        string reference = found.Lines[^1].Trim()["irpwright replay '".Length..^1];
        string line = Command.Run("replay", reference.Replace("LocksInTwoOrders", "Awaits", StringComparison.Ordinal)).AssertComplains(3);
        Assert.Contains("Awaits is not what was recorded: step ", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--strategy", "best", "there are mixed, random, pct, delay, dfs.")]
    [InlineData("--schedules", "many", "give a number from 0 to 9223372036854775807.")]
    [InlineData("--shard", "9/8", "give I/N, as in 1/8, with I from 1 to N.")]
    public void Wrong_options_are_explained(string option, string value, string help) =>
        Assert.EndsWith(help, Command.Run("explore", TestFiles.Assembly, option, value).AssertComplains(2), StringComparison.Ordinal);

    [Fact]
    public void What_is_no_scenario_is_refused()
    {
        Assert.Contains("no scenario 'Nothing'; it contains ", Command.Run("explore", Scenario("Nothing")).AssertComplains(2), StringComparison.Ordinal);
        Assert.Contains("neither a file nor a replay string", Command.Run("replay", "nothing").AssertComplains(2), StringComparison.Ordinal);
        Assert.Contains("was not written by irpwright with --json", Command.Run("replay", TestFiles.Samples("README.md")).AssertComplains(2), StringComparison.Ordinal);
    }
}
