using System.Text;
using System.Text.RegularExpressions;
using Irpwright.Guest;
using Irpwright.Guest.Images;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace Irpwright.Verification.Tests;

/// <summary>
/// Goal: rules see compiled drivers as they see those in C#. Method: tests/native/rules.c has for each rule a dispatch routine that breaks it
/// and one that is right.
/// </summary>
public sealed partial class CompiledRuleTests
{
    const uint SelectCase = 0x0022_2400;
    const int RuleSize = 63;
    const uint RegistrationTag = 0x736E5355;
    const byte UnknownMinor = 0x7F;

    static readonly string Folder = Path.Combine(RuleDocument.Root, "tests", "native");

    /// <summary>The rules that rules.c has a case of.</summary>
    internal static IReadOnlyList<string> Rules { get; } =
        [.. Case().Matches(File.ReadAllText(Path.Combine(Folder, "rules.c"))).Select(m => m.Groups[1].Value).Where(rule => rule != "Rule")];

    /// <summary>What follows from the mistake may break other rules, too.</summary>
    static readonly string[] MayAlso =
        ["IwForwardedWhileBelow", "IwLeftStackLocations", "IwSentNoIrp", "IoAllocateFree", "IoReuseIrp2", "IwFreedInUse", "IwReinitializedInUse"];

    /// <summary>Routines that are to blame, other than the dispatch routine.</summary>
    static readonly Dictionary<string, string> Blamed = new(StringComparer.Ordinal)
    {
        ["IwPendingNotPropagated"] = "Forget",
        ["SignalEventInCompletion"] = "Keep",
        ["IoAllocateIrpSignalEventInCompletion"] = "Free",
        ["IoBuildFsdIrpSignalEventInCompletion"] = "Free",
        ["IoBuildDeviceIoControlSetEvent"] = "SignalOnly",
        ["CompletionEventChecking"] = "MarkAndSignal",
        ["IwApcStateChanged"] = "EnterOnly",
    };

    public static TheoryData<string> Names => [.. Rules];

    [Theory, MemberData(nameof(Names))]
    public void A_wrong_routine_breaks_its_rule_and_is_named(string rule)
    {
        using Bench bench = NewBench(rule, right: false);
        bench.Do();

        string[] broken = [.. bench.Verifier.Violations.Select(v => v.Rule.Name).Distinct()];
        if (MayAlso.Contains(rule)) Assert.Contains(rule, broken);
        else Assert.Equal([rule], broken);
        Violation violation = bench.Verifier.Violations.First(v => v.Rule.Name == rule);
        Assert.Equal("rules", violation.Driver);
        Assert.StartsWith($"rules!{Blamed.GetValueOrDefault(rule, $"Wrong{rule}")}", violation.Symbol, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Names))]
    public void A_right_routine_breaks_no_rule(string rule)
    {
        using Bench bench = NewBench(rule, right: true);
        bench.Do();
        Assert.Empty(bench.Verifier.Violations);
        Assert.Null(bench.Stop);
    }

    [Fact]
    public void The_driver_knows_no_other_cases()
    {
        using Bench bench = NewBench("MarkIrpPending", right: true);
        Assert.Equal(STATUS_NOT_FOUND, Select(bench, "NoSuchRule", right: true));
    }

    [Fact]
    public async Task Rebuilding_gives_the_checked_in_image_byte_for_byte()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "the build script needs a Unix shell");
        string[] record = await File.ReadAllLinesAsync(Path.Combine(Folder, "bin", "BUILD.txt"), TestContext.Current.CancellationToken);
        string? toolchain = await RunScript("--toolchain");
        Assert.SkipWhen(toolchain is null, "x86_64-w64-mingw32-gcc is not installed (Debian: gcc-mingw-w64-x86-64)");
        Assert.SkipUnless(toolchain.Split('\n', StringSplitOptions.RemoveEmptyEntries).SequenceEqual(record.Where(line => line.Contains(": ", StringComparison.Ordinal))),
            $"other toolchain: {toolchain}");
        DirectoryInfo rebuilt = Directory.CreateTempSubdirectory("irpwright-rules-");
        try
        {
            Assert.NotNull(await RunScript(rebuilt.FullName));
            Assert.Equal(
                await File.ReadAllBytesAsync(Path.Combine(Folder, "bin", "rules.sys"), TestContext.Current.CancellationToken),
                await File.ReadAllBytesAsync(Path.Combine(rebuilt.FullName, "rules.sys"), TestContext.Current.CancellationToken));
            Assert.Equal(record, await File.ReadAllLinesAsync(Path.Combine(rebuilt.FullName, "BUILD.txt"), TestContext.Current.CancellationToken));
        }
        finally
        {
            rebuilt.Delete(recursive: true);
        }
    }

    /// <summary>The function driver in C#, and the compiled filter above it with the case selected.</summary>
    static Bench NewBench(string rule, bool right)
    {
        RuleInfo info = RuleCatalog.Find(rule) ?? throw new InvalidOperationException($"{rule} is no rule.");
        var bench = new Bench(filterCount: 0, rules: [.. RuleCatalog.Default.Append(info).Distinct()]);
        var guest = new GuestDrivers(bench.Machine);
        Assert.True(guest.TryRead(Path.Combine(Folder, "bin", "rules.sys"), out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
        Assert.Equal(STATUS_SUCCESS, guest.Start(image!, out Driver? driver));
        bench.Machine.Run(() => Assert.Equal(STATUS_SUCCESS, bench.Machine.Drivers.AddDevice(driver!, bench.Lower.Device)));
        Assert.Equal(STATUS_SUCCESS, Select(bench, rule, right));
        Prepare(bench, rule, right);
        return bench;
    }

    static NTSTATUS Select(Bench bench, string rule, bool right)
    {
        byte[] selection = new byte[1 + RuleSize];
        selection[0] = right ? (byte)1 : (byte)0;
        Encoding.ASCII.GetBytes(rule, selection.AsSpan(1));
        return bench.Machine.Run(() =>
        {
            using DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName);
            return handle.Control(SelectCase, selection, Memory<byte>.Empty).Status;
        });
    }

    /// <summary>How the function driver behaves, and what the system or a user does, if not just a read that succeeds at once.</summary>
    static void Prepare(Bench bench, string rule, bool right)
    {
        switch (rule)
        {
            case "PendedCompletedRequest2" or "IwForwardedWhileBelow" when !right:
                bench.KeepReads();
                break;
            case "PendedCompletedRequest2" or "IwForwardedWhileBelow" or "IwPendingNotPropagated" or "CompletionEventChecking"
                or "SignalEventInCompletion" or "SignalEventInCompletion2" or "SignalEventInCompletion3":
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                break;
            case "IoBuildSynchronousFsdRequestWait" or "IoAllocateIrpSignalEventInCompletion" or "IoBuildFsdIrpSignalEventInCompletion":
                bench.CompleteLater(IRP_MJ_FLUSH_BUFFERS);
                break;
            case "IoBuildFsdForward" or "IwFreedInUse" or "IwReinitializedInUse":
                bench.Keep(IRP_MJ_FLUSH_BUFFERS);
                break;
            case "IoBuildDeviceControlWait" or "IwEventSetBeforeSending" or "IoBuildDeviceIoControlSetEvent" or "IwWaitedForOtherEvent":
                bench.CompleteLater(IRP_MJ_DEVICE_CONTROL);
                break;
            case "IoSetCompletionExCompleteIrp":
                bench.Machine.Pool.FailAllocation = static (_, tag) => tag == RegistrationTag;
                break;
            case "IrpCancelField":
                CancelBefore(bench, right);
                break;
            case "IwCancelIgnored":
                bench.ActDuringRead(read => read.Cancel());
                break;
            case "MarkPower":
                bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, PowerTo(SYSTEM_POWER_STATE.PowerSystemWorking));
                break;
            case "MarkPowerDown":
                bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, PowerTo(SYSTEM_POWER_STATE.PowerSystemSleeping3));
                break;
            case "MarkQueryRelations":
                bench.Send(IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS,
                    new() { QueryDeviceRelations = new() { Type = DEVICE_RELATION_TYPE.RemovalRelations } });
                break;
            case "MarkStartDevice" or "PnpIrpCompletion":
                bench.Send(IRP_MJ_PNP, IRP_MN_START_DEVICE);
                break;
            case "IwMustNotFail":
                bench.Send(IRP_MJ_PNP, IRP_MN_STOP_DEVICE);
                break;
            case "IwStatusOfUnknownChanged":
                bench.Send(IRP_MJ_PNP, UnknownMinor);
                break;
            case "WmiForward" or "IwWmiCompletedForOther":
                bench.Send(IRP_MJ_SYSTEM_CONTROL, IRP_MN_QUERY_ALL_DATA, new() { WMI = new() { ProviderId = bench.Lower.Device.Address } });
                break;
        }
    }

    static IO_STACK_LOCATION.ParametersUnion PowerTo(SYSTEM_POWER_STATE state) =>
        new() { Power = new() { Type = POWER_STATE_TYPE.SystemPowerState, State = new() { SystemState = state } } };

    /// <summary>A filter on top, under which the request is cancelled before the compiled driver gets it; in the end it is completed.</summary>
    static void CancelBefore(Bench bench, bool right)
    {
        var top = new Probe(null);
        PIRP cancelled = default;
        bench.Machine.Run(() =>
        {
            Assert.Equal(STATUS_SUCCESS, bench.Machine.Drivers.Load(top, "top", out Driver? loaded));
            Assert.Equal(STATUS_SUCCESS, bench.Machine.Drivers.AddDevice(loaded!, bench.Lower.Device));
        });
        top.Read = irp =>
        {
            cancelled = irp;
            bench.Machine.Cancellation.IoCancelIrp(irp);
            return top.SkipDown(irp);
        };
        if (right) return;
        bench.ActDuringRead(_ =>
        {
            top.IoSetCancelRoutine(cancelled, default);
            cancelled.IoStatus.Status = STATUS_CANCELLED;
            bench.Machine.Completion.IoCompleteRequest(cancelled, IO_NO_INCREMENT);
        });
    }

    /// <returns>What it printed; null if it failed.</returns>
    static async Task<string?> RunScript(string argument)
    {
        ProcessStartInfo start = new("bash", [Path.Combine(Folder, "build.sh"), argument]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = System.Diagnostics.Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        await errors;
        return process.ExitCode == 0 ? output : null;
    }

    [GeneratedRegex(@"CASE(?:_OF)?\((?:\w+, )?(\w+)\)")]
    private static partial Regex Case();
}
