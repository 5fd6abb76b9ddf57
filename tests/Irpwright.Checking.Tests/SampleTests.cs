using System.Text.RegularExpressions;
using Irpwright.Guest.Images;
using Irpwright.Samples;

namespace Irpwright.Checking.Tests;

/// <summary>The battery on the samples: silent about those that are right, and clear about those that are not.</summary>
public partial class SampleTests
{
    [Theory]
    [InlineData("associated", DriverRole.Filter)]
    [InlineData("csq", DriverRole.Software)]
    [InlineData("msvclike", DriverRole.Software)]
    [InlineData("passthrough", DriverRole.Filter)]
    [InlineData("pnpbus", DriverRole.Function)]
    [InlineData("pnpfilter", DriverRole.Filter)]
    [InlineData("pnpfunc", DriverRole.Function)]
    [InlineData("queue", DriverRole.Software)]
    [InlineData("retry", DriverRole.Filter)]
    [InlineData("seh", DriverRole.Software)]
    [InlineData("split", DriverRole.Filter)]
    [InlineData("syncquery", DriverRole.Filter)]
    [InlineData("fixed-cancelset", DriverRole.Software)]
    [InlineData("fixed-deadlock", DriverRole.Software)]
    [InlineData("fixed-errorpath", DriverRole.Filter)]
    [InlineData("fixed-event", DriverRole.Filter)]
    [InlineData("fixed-forgotten", DriverRole.Software)]
    [InlineData("fixed-freeirp", DriverRole.Filter)]
    [InlineData("fixed-leakirp", DriverRole.Filter)]
    [InlineData("fixed-lockheld", DriverRole.Software)]
    [InlineData("fixed-lostcancel", DriverRole.Software)]
    [InlineData("fixed-mdl", DriverRole.Software)]
    [InlineData("fixed-method", DriverRole.Software)]
    [InlineData("fixed-overrun", DriverRole.Software)]
    [InlineData("fixed-pending", DriverRole.Filter)]
    [InlineData("fixed-power", DriverRole.Filter)]
    [InlineData("fixed-remove", DriverRole.Filter)]
    [InlineData("fixed-removelock", DriverRole.Filter)]
    [InlineData("fixed-status", DriverRole.Filter)]
    [InlineData("fixed-touch", DriverRole.Filter)]
    [InlineData("fixed-unload", DriverRole.Software)]
    public void A_driver_that_is_right_passes_the_whole_battery(string name, DriverRole role)
    {
        CheckResult result = CompiledSamples.Check(name);
        Assert.Empty(result.Findings.Select(finding => string.Join('\n', finding.Report)));
        Assert.Empty(result.Skipped);
        Assert.Equal(role, result.Profile.Role);
        Assert.True(result.Coverage.Functions > 0);
    }

    [Fact]
    public void A_driver_of_hardware_passes_the_whole_battery_with_a_model_of_it()
    {
        CheckStack stack = CheckStack.Of([CompiledSamples.Driver("startio")]) with { Furnish = machine => _ = new BlockDevice(machine) };
        CheckResult result = new DriverCheck(stack, new CheckOptions { Schedules = 20, Budget = TimeSpan.FromMinutes(5) }).Run();
        Assert.Empty(result.Findings.Select(finding => string.Join('\n', finding.Report)));
        Assert.Empty(result.Skipped);
        Assert.Equal(DriverRole.Software, result.Profile.Role);
    }

    [Theory]
    [InlineData(typeof(Associated))]
    [InlineData(typeof(Csq))]
    [InlineData(typeof(MsvcLike))]
    [InlineData(typeof(Samples.PassThrough))]
    [InlineData(typeof(PnpBus))]
    [InlineData(typeof(PnpFilter))]
    [InlineData(typeof(PnpFunc))]
    [InlineData(typeof(Queue))]
    [InlineData(typeof(Retry))]
    [InlineData(typeof(Seh))]
    [InlineData(typeof(Split))]
    [InlineData(typeof(SyncQuery))]
    public void So_does_its_twin_in_C_sharp(Type type)
    {
        CheckResult result = CheckTwin(type, type.Name.ToLowerInvariant(), 1);
        Assert.Empty(result.Findings.Select(finding => string.Join('\n', finding.Report)));
        Assert.Empty(result.Skipped);
    }

    [Fact]
    public void A_lost_cancellation_is_found_in_C_sharp_too()
    {
        CheckResult result = CheckTwin(typeof(BrokenLostCancel), "broken-lostcancel", 10);
        CheckFinding finding = Assert.Single(result.Findings, f => f.Failure.Name == "IrpCancelField");
        Assert.Contains("BrokenLostCancelDispatchDeviceControl", finding.Failure.Place, StringComparison.Ordinal);
    }

    static CheckResult CheckTwin(Type type, string name, int schedules)
    {
        DriverSource twin = DriverSource.Of(type.Name, name, () => (WdmDriver)Activator.CreateInstance(type)!);
        return new DriverCheck([twin], new CheckOptions
        {
            Schedules = schedules,
            Budget = TimeSpan.FromMinutes(5),
            // A C# driver does not show which codes it compares with.
            ControlRequests = [.. ImageReport.ControlCodesOf(CompiledSamples.Driver(name).Image!).Select(code => new ControlRequest(code.Value))],
        }).Run();
    }

    [Theory]
    [InlineData("broken-cancelset", "IwCompletedCancelable", "BrokenCancelSetDispatchWrite")]
    [InlineData("broken-deadlock", "IwLockOrder", "BrokenDeadlockDispatchDeviceControl")]
    [InlineData("broken-double", "DoubleCompletion", "BrokenDoubleDispatchRead")]
    [InlineData("broken-errorpath", "DoubleCompletion", "BrokenErrorPathDispatchRead")]
    [InlineData("broken-event", "DoubleCompletion", "BrokenEventDispatchPnp")]
    [InlineData("broken-forgotten", "IrpProcessingComplete", "BrokenForgottenDispatchDeviceControl")]
    [InlineData("broken-freeirp", "MULTIPLE_IRP_COMPLETE_REQUESTS", "")]
    [InlineData("broken-leakirp", "IwIrpLeakedAtUnload", "BrokenLeakIrpDispatchRead")]
    [InlineData("broken-lockheld", "SpinLockSafe", "BrokenLockHeldBeat")]
    [InlineData("broken-lostcancel", "IrpCancelField", "BrokenLostCancelDispatchDeviceControl", 10)]
    [InlineData("broken-mdl", "IwPagesLeftLocked", "BrokenMdlDispatchDeviceControl")]
    [InlineData("broken-method", "IwUserMemoryUnguarded", "BrokenMethodDispatchDeviceControl")]
    [InlineData("broken-null", "DRIVER_IRQL_NOT_LESS_OR_EQUAL", "BrokenNullReadDone")]
    [InlineData("broken-overrun", "IwOutOfBounds", "BrokenOverrunDispatchWrite")]
    [InlineData("broken-pending", "IwPendingNotPropagated", "BrokenPendingReadDone")]
    [InlineData("broken-power", "IwPowerIrpCompletion", "BrokenPowerDispatchPower")]
    [InlineData("broken-recurse", "UNEXPECTED_KERNEL_MODE_TRAP", "broken-recurse!")]
    [InlineData("broken-remove", "PnpIrpCompletion", "BrokenRemoveDispatchPnp")]
    [InlineData("broken-removelock", "RemoveLockRelease2", "BrokenRemoveLockDispatchWrite")]
    [InlineData("broken-seh", "SYSTEM_SERVICE_EXCEPTION", "BrokenSehSectorOf")]
    [InlineData("broken-stack", "NO_MORE_IRP_STACK_LOCATIONS", "")]
    [InlineData("broken-status", "LowerDriverReturn", "BrokenStatusDispatchFlush")]
    [InlineData("broken-touch", "IwTouchedForeignIrp", "BrokenTouchDispatchRead")]
    [InlineData("broken-unload", "IwFreedActiveTimer", "BrokenUnloadUnload")]
    [InlineData("broken-wild", "SYSTEM_SERVICE_EXCEPTION", "BrokenWild")]
    public void The_bug_of_a_driver_is_found_named_located_and_replayed(string name, string expected, string place, int schedules = 1)
    {
        CheckResult result = CompiledSamples.Check(name, schedules);
        CheckFinding? finding = result.Findings.FirstOrDefault(f => f.Failure.Name == expected && (f.Failure.Place ?? "").Contains(place, StringComparison.Ordinal));
        Assert.True(finding is not null, $"found were {string.Join("; ", result.Findings.Select(f => $"{f.Failure.Name} in {f.Failure.Place}"))}");
        Assert.Contains(finding.Report, line => line.Contains($"irpwright replay '{finding.Replay}'", StringComparison.Ordinal));

        // The sentence and the packet below it are about the same one.
        foreach (Match named in IrpLabels.Matches(finding.Failure.Sentence))
            Assert.Contains(finding.Report, line => line.StartsWith($"  {named.Value} at ", StringComparison.Ordinal));

        if (finding.Rule is not null) Assert.DoesNotContain(result.Findings, f => f.Failure.Kind == FailureKind.Hang);
        if (finding.Failure.Kind == FailureKind.BugCheck) Assert.Single(result.Findings, f => f.Failure.Name == expected);

        CheckReplay replay = CheckReplay.Parse(finding.Replay)!;
        IReadOnlyList<CheckFinding> again = new DriverCheck([CompiledSamples.Driver(name)], new CheckOptions()).Replay(replay.Scenario, replay.Schedule);
        CheckFinding same = Assert.Single(again, f => f.Failure.IsTheSameAs(finding.Failure));
        Assert.Equal(finding.Report.Select(CompiledSamples.InAnyMachine), same.Report.Select(CompiledSamples.InAnyMachine));
    }

    [GeneratedRegex(@"\b(irp|pnp|power)#\d+")]
    private static partial Regex IrpLabels { get; }
}
