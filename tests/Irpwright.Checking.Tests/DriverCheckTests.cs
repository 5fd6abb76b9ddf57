using System.Runtime.CompilerServices;
using Irpwright.Samples;

namespace Irpwright.Checking.Tests;

public class DriverCheckTests
{
    static string[] Told(CheckResult result) => [.. result.Findings.Select(f => CompiledSamples.InAnyMachine($"{f.Failure} | {f.Failure.Place} | {f.Replay}"))];

    [Fact]
    public void The_same_seed_gives_the_same_findings_in_the_same_order_however_many_work_on_it()
    {
        CheckResult alone = Run(1), together = Run(4);
        Assert.NotEmpty(alone.Findings);
        Assert.Equal(Told(alone), Told(together));
        Assert.Equal(alone.Runs, together.Runs);

        static CheckResult Run(int workers) => new DriverCheck([CompiledSamples.Driver("broken-pending")],
            new CheckOptions { Schedules = 5, Workers = workers, Budget = TimeSpan.FromMinutes(5) }).Run();
    }

    [Theory]
    [InlineData("broken-pending")]
    [InlineData("broken-overrun")]
    [InlineData("broken-lostcancel")]
    public void Both_ways_of_running_compiled_code_give_the_same_findings_in_the_same_order(string name)
    {
        CheckResult threaded = Run(false), looped = Run(true);
        Assert.NotEmpty(threaded.Findings);
        Assert.Equal(Told(threaded), Told(looped));
        Assert.Equal(threaded.Coverage, looped.Coverage with { Routines = threaded.Coverage.Routines });
        Assert.Equal(threaded.Coverage.Routines, looped.Coverage.Routines);

        CheckResult Run(bool avoidsTailCalls) => new DriverCheck([CompiledSamples.Driver(name)],
            new CheckOptions { Schedules = 10, AvoidsTailCalls = avoidsTailCalls, Budget = TimeSpan.FromMinutes(5) }).Run();
    }

    [Fact] // DV-C4-0xC6
    public void Fast_IO_routines_are_reached_with_good_and_bad_buffers()
    {
        CheckResult result = new DriverCheck([CompiledSamples.TestDriver("fastio")], new CheckOptions { Schedules = 1, Budget = TimeSpan.FromMinutes(5) }).Run();
        Assert.Equal(["APC_INDEX_MISMATCH", "CriticalRegions", "IwUserMemoryUnguarded", "IwUserMemoryUnprobed", "SYSTEM_SERVICE_EXCEPTION"],
            result.Findings.Select(f => f.Failure.Name).Order(StringComparer.Ordinal));
        Assert.All(result.Findings, f => Assert.StartsWith("fastio!FastIoControl", f.Failure.Place ?? "fastio!FastIoControl", StringComparison.Ordinal));
        Assert.Equal((result.Coverage.AllFunctions, result.Coverage.AllBlocks), (result.Coverage.Functions, result.Coverage.Blocks));
    }

    [Fact]
    public void Each_call_site_that_can_fail_fails_once()
    {
        CheckResult result = new DriverCheck([CompiledSamples.Driver("queue")], new CheckOptions { Include = ["load"] }).Run();
        Assert.True(result.Faults >= 3, $"{result.Faults} call sites");
        Assert.Empty(result.Findings);
    }

    [Fact]
    public void A_driver_that_does_not_look_whether_it_got_memory_is_found_and_the_run_says_which_call_failed()
    {
        DriverSource careless = DriverSource.Of("careless", "careless", () => new Careless());
        CheckResult result = new DriverCheck([careless], new CheckOptions { Include = ["load"] }).Run();
        CheckFinding finding = Assert.Single(result.Findings);
        Assert.Equal(FailureKind.BugCheck, finding.Failure.Kind);
        Assert.Contains(finding.Schedule.Steps, step =>
            step is { Answer: 1, Site: { } site } && site.Contains($"ExAllocatePoolWithTag in careless!Allocate, line {Careless.LineOfAllocation}", StringComparison.Ordinal));
        Assert.Contains(finding.Report, line => line.TrimStart().StartsWith("x  careless", StringComparison.Ordinal)
            && line.EndsWith("ExAllocatePoolWithTag is made to fail", StringComparison.Ordinal));
    }

    /// <summary>The page of ExAllocatePoolWithQuotaTag: with POOL_QUOTA_FAIL_INSTEAD_OF_RAISE it returns NULL.</summary>
    [Theory]
    [InlineData(8, 0)]
    [InlineData(0, 1)]
    public void An_allocation_with_quota_that_fails_raises_unless_it_is_told_not_to(int poolType, int findings)
    {
        DriverSource source = DriverSource.Of("quota", "quota", () => new Quota((POOL_TYPE)poolType));
        CheckResult result = new DriverCheck([source], new CheckOptions { Include = ["load"] }).Run();
        Assert.Equal(findings, result.Findings.Count);
        Assert.True(result.Faults > 0);
    }

    [Fact]
    public void A_bad_address_is_tried_with_the_length_that_the_driver_wants()
    {
        DriverSource source = DriverSource.Of("trusting", "trusting", () => new Trusting());
        CheckResult result = new DriverCheck([source], new CheckOptions { Include = ["control-0x00222003-bad"], ControlRequests = [new(0x222003)] }).Run();
        Assert.Equal("SYSTEM_SERVICE_EXCEPTION", Assert.Single(result.Findings).Failure.Name);
    }

    sealed class Trusting : Software
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            NTSTATUS status = SoftwareCreate(DriverObject, RTL_CONSTANT_STRING(@"\Device\Trusting0"), RTL_CONSTANT_STRING(@"\DosDevices\Trusting0"), 0, out PDEVICE_OBJECT device);
            if (!status.IsSuccess) return status;
            DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(DispatchDeviceControl);
            DriverObject.DriverUnload = Routine(Unload);
            SoftwareReady(device);
            return status;
        }

        void Unload(PDRIVER_OBJECT DriverObject) => SoftwareDelete(DriverObject.DeviceObject, RTL_CONSTANT_STRING(@"\DosDevices\Trusting0"));

        NTSTATUS DispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
        {
            PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
            if (stack.Parameters.DeviceIoControl is { IoControlCode: 0x222003, InputBufferLength: 4 })
                return SoftwareComplete(Irp, NTSTATUS.STATUS_SUCCESS, GuestMemory.Ref<uint>(stack.Parameters.DeviceIoControl.Type3InputBuffer.Address) & 1);
            return SoftwareComplete(Irp, NTSTATUS.STATUS_INVALID_DEVICE_REQUEST, 0);
        }
    }

    [Fact]
    public void A_scenario_that_would_take_for_ever_is_given_up_and_named()
    {
        var options = new CheckOptions { Include = ["race-read-write"], Schedules = 1_000_000, Budget = TimeSpan.FromSeconds(0.5) };
        CheckResult result = new DriverCheck([CompiledSamples.Driver("csq")], options).Run();
        Assert.Equal("the budget was spent", Assert.Single(result.Skipped).Reason);
        Assert.InRange(result.Runs, 1, 1_000_000);
    }

    [Fact]
    public void A_routine_without_arguments_fails_too()
    {
        CheckResult result = new DriverCheck([DriverSource.Of("ranges", "ranges", () => new Ranges())], new CheckOptions { Include = ["load"] }).Run();
        Assert.Empty(result.Findings);
        Assert.True(result.Faults > 0);
    }

    sealed class Ranges : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            PVOID ranges = MmGetPhysicalMemoryRanges();
            if (ranges.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
            ExFreePool(ranges);
            DriverObject.DriverUnload = Routine(Unload);
            return NTSTATUS.STATUS_SUCCESS;
        }

        void Unload(PDRIVER_OBJECT DriverObject) => DriverObject.DriverUnload = default;
    }

    sealed class Quota(POOL_TYPE poolType) : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            PVOID memory = ExAllocatePoolWithQuotaTag(poolType, 64, 0x746F_7551);
            if (memory.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
            ExFreePoolWithTag(memory, 0x746F_7551);
            DriverObject.DriverUnload = Routine(Unload);
            return NTSTATUS.STATUS_SUCCESS;
        }

        void Unload(PDRIVER_OBJECT DriverObject) => DriverObject.DriverUnload = default;
    }

    sealed class Careless : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            PVOID memory = Allocate();
            new PKEVENT(memory.Address).Header.SignalState = 1;
            ExFreePoolWithTag(memory, 0x6572_6143);
            DriverObject.DriverUnload = Routine(Unload);
            return NTSTATUS.STATUS_SUCCESS;
        }

        void Unload(PDRIVER_OBJECT DriverObject) => DriverObject.DriverUnload = default;

        // Without a frame of its own in optimised code: the place is where it stands in the source.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        PVOID Allocate() => ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 0x6572_6143);

        public static int LineOfAllocation { get; } = Line() - 2;

        static int Line([CallerLineNumber] int line = 0) => line;
    }

    [Fact]
    public void A_stop_in_a_driver_without_symbols_has_a_place_too()
    {
        CheckResult result = new DriverCheck([CompiledSamples.DriverWithoutSymbols("broken-null")], new CheckOptions { Include = ["read-sizes"] }).Run();
        CheckFinding finding = Assert.Single(result.Findings, f => f.Failure.Kind == FailureKind.BugCheck);
        Assert.Matches(@"^broken-null\+0x[0-9a-f]+$", finding.Failure.Place);
        Assert.Contains($"  in           {finding.Failure.Place}", finding.Report);
    }

    [Fact]
    public void A_C_sharp_driver_is_checked_like_a_compiled_one()
    {
        DriverSource broken = DriverSource.Of("BrokenDouble", "brokendouble", () => new BrokenDouble());
        CheckResult result = new DriverCheck([broken], new CheckOptions { Schedules = 3, Budget = TimeSpan.FromMinutes(5) }).Run();
        Assert.Contains(result.Findings, f => f.Failure.Name == "DoubleCompletion");
    }

    [Fact]
    public void Each_finding_is_told_once_while_the_check_goes_on()
    {
        var told = new System.Collections.Concurrent.ConcurrentQueue<Failure>();
        var check = new DriverCheck([CompiledSamples.Driver("broken-forgotten")], new CheckOptions { Schedules = 2, Workers = 3 })
        {
            Found = (_, failure) => told.Enqueue(failure),
        };
        CheckResult result = check.Run();
        Assert.Equal(result.Findings.Select(f => f.Failure.Name).Order(StringComparer.Ordinal), told.Select(f => f.Name).Order(StringComparer.Ordinal));
        Assert.Contains(result.Findings, f => f.Scenarios > 1);
    }

    [Fact]
    public void A_check_that_is_interrupted_has_what_it_found()
    {
        using var interrupt = new CancellationTokenSource();
        var check = new DriverCheck([CompiledSamples.Driver("broken-forgotten")], new CheckOptions { Schedules = 2, Workers = 1 })
        {
            Found = (_, _) => interrupt.Cancel(),
        };
        CheckResult result = check.Run(interrupt.Token);
        Assert.NotEmpty(result.Findings);
        Assert.Contains(result.Skipped, skipped => skipped.Reason == "the check was interrupted");
    }

    [Fact]
    public void A_plan_names_the_scenarios_that_a_run_then_runs()
    {
        var options = new CheckOptions { Schedules = 1, Include = ["load", "open", "ordinary"], Exclude = ["load-"] };
        string[] planned = [.. new DriverCheck([CompiledSamples.Driver("csq")], options).Plan().Scenarios.Select(s => s.Id)];
        Assert.Equal(["load", "open", "ordinary"], planned);
        Assert.Equal(planned, new DriverCheck([CompiledSamples.Driver("csq")], options).Run().Ran.Select(s => s.Id));
    }

    [Fact]
    public void What_is_muted_is_counted_and_not_reported()
    {
        var mutes = new MuteList();
        mutes.Add("SpinLockSafe@broken-lockheld");
        CheckResult result = new DriverCheck([CompiledSamples.Driver("broken-lockheld")], new CheckOptions { Schedules = 2, Mutes = mutes }).Run();
        Assert.DoesNotContain(result.Findings, f => f.Failure.Name == "SpinLockSafe");
        Assert.True(result.Muted > 0);
    }

    [Fact]
    public void What_the_budget_cuts_off_is_named()
    {
        CheckResult result = new DriverCheck([CompiledSamples.Driver("passthrough")], new CheckOptions { Budget = TimeSpan.Zero }).Run();
        Assert.Empty(result.Ran);
        Assert.NotEmpty(result.Skipped);
        Assert.All(result.Skipped, skipped => Assert.Equal("the budget was spent", skipped.Reason));
    }

    [Fact]
    public void A_driver_that_refuses_to_load_cannot_be_checked() =>
        Assert.Equal("DriverEntry of startio returned STATUS_NO_SUCH_DEVICE: there is nothing to check.",
            Assert.Throws<DriverCheckException>(() => CompiledSamples.Check("startio")).Message);

    [Fact]
    public void A_replay_string_for_other_drivers_is_refused()
    {
        CheckReplay replay = CheckReplay.Parse(CompiledSamples.Check("broken-forgotten", 1).Findings[0].Replay)!;
        var other = new DriverCheck([CompiledSamples.Driver("passthrough")], new CheckOptions());
        Assert.Contains("have no scenario 'none'", Assert.Throws<DriverCheckException>(() => other.Replay("none", replay.Schedule)).Message, StringComparison.Ordinal);
        Assert.Throws<ReplayException>(() => other.Replay("ordinary", replay.Schedule));
    }

    [Fact]
    public void A_damaged_replay_string_is_refused() =>
        Assert.Contains("This is no replay string", Assert.Throws<FormatException>(() => CheckReplay.Parse("check:a.sys,b.sys+0x222004#load@")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_replay_string_keeps_drivers_codes_scenario_and_schedule()
    {
        CheckReplay replay = new(
            ["c++/a.sys", "B.dll:Filter", "Müller, 50%25's/c+0x1.sys"], [new(0x222004), new(0x22200B, 16), new(0x222013, null, 8), new(0x222017, 0, 4)],
            "control-0x00222004", new Schedule([], false));
        CheckReplay read = CheckReplay.Parse(replay.ToString())!;
        Assert.Equal(replay.Inputs, read.Inputs);
        Assert.Equal(replay.ControlRequests, read.ControlRequests);
        Assert.Equal(replay.Scenario, read.Scenario);
        Assert.Equal(replay.ToString(), read.ToString());
    }
}
