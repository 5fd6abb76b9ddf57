using System.Text;
using System.Text.RegularExpressions;
using Irpwright.Guest;
using Irpwright.Guest.Images;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace Irpwright.Verification.Tests;

/// <summary>
/// Goal: rules see compiled drivers as they see those in C#. Method: tests/native/rules-*.c have for each rule a dispatch routine that breaks
/// it and one that is right.
/// </summary>
public sealed partial class CompiledRuleTests
{
    const uint SelectCase = 0x0022_2400;
    const int RuleSize = 63;
    const uint RegistrationTag = 0x736E5355;
    const byte UnknownMinor = 0x7F;

    static readonly string Folder = Path.Combine(RuleDocument.Root, "tests", "native");

    /// <summary>The drivers that have a case of a rule, by rule.</summary>
    static readonly SortedDictionary<string, string> Drivers = new(
        (from source in Directory.GetFiles(Folder, "rules-*.c")
            from Match found in Case().Matches(File.ReadAllText(source))
            select (found.Groups[1].Value, Path.GetFileNameWithoutExtension(source))).ToDictionary(StringComparer.Ordinal), StringComparer.Ordinal);

    /// <summary>The rules that there is a case of.</summary>
    internal static IReadOnlyCollection<string> Rules => Drivers.Keys;

    /// <summary>Rules that the wrong routine cannot help breaking as well: it is registered for nothing that frees the IRP either.</summary>
    static readonly Dictionary<string, string> Also = new(StringComparer.Ordinal)
    {
        ["IoAllocateIrpSignalEventInCompletion3"] = "IoAllocateForward",
        ["IoBuildFsdIrpSignalEventInCompletion3"] = "IoBuildFsdForward",
    };

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
        Assert.Equal(Also.TryGetValue(rule, out string? also) ? [rule, also] : [rule], broken.OrderBy(name => name != rule));
        Violation violation = bench.Verifier.Violations.First(v => v.Rule.Name == rule);
        Assert.Equal(Drivers[rule], violation.Driver);
        Assert.StartsWith($"{Drivers[rule]}!{Blamed.GetValueOrDefault(rule, $"Wrong{rule}")}", violation.Symbol, StringComparison.Ordinal);
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
    public void A_driver_knows_no_other_cases()
    {
        using Bench bench = NewBench("MarkIrpPending", right: true);
        Assert.Equal(STATUS_NOT_FOUND, Select(bench, "NoSuchRule", right: true));
    }

    [Fact]
    public async Task Rebuilding_gives_the_checked_in_images_byte_for_byte()
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
            // With the size and SHA-256 of every image.
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
        var bench = new Bench(filterCount: rule == "IwSentPastDevice" ? 1 : 0, rules: [.. RuleCatalog.Default.Append(info).Distinct()]);
        var guest = new GuestDrivers(bench.Machine);
        Assert.True(guest.TryRead(Path.Combine(Folder, "bin", $"{Drivers[rule]}.sys"), out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
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
            case "PendedCompletedRequest2" when !right:
                bench.KeepReads();
                break;
            case "IwForwardedWhileBelow" when !right:
                bench.KeepReads();
                bench.ActDuringRead(_ => bench.Lower.Complete(bench.Kept, STATUS_SUCCESS));
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
            case "IoBuildDeviceControlWaitTimeout":
                KeepUntilCancelled(bench, IRP_MJ_DEVICE_CONTROL);
                break;
            case "IoBuildSynchronousFsdRequestWaitTimeout" or "IoAllocateIrpSignalEventInCompletionTimeout" or "IoBuildFsdIrpSignalEventInCompletionTimeout":
                KeepUntilCancelled(bench, IRP_MJ_FLUSH_BUFFERS);
                break;
            case "IoAllocateIrpSignalEventInCompletion2" or "IoAllocateIrpSignalEventInCompletion3"
                or "IoBuildFsdIrpSignalEventInCompletion2" or "IoBuildFsdIrpSignalEventInCompletion3":
                CompletionRules.CompleteWhenAwaited(bench, () => EventOf(bench), IRP_MJ_FLUSH_BUFFERS, STATUS_DEVICE_NOT_READY);
                break;
            case "IwStackLeftInFlight":
                CompletionRules.CompleteWhenAwaited(bench, () => EventOf(bench), IRP_MJ_DEVICE_CONTROL, STATUS_SUCCESS);
                break;
            case "IwForwardedAboveDispatch":
                bench.Lower.Read = irp => bench.Lower.CompleteLater(irp);
                break;
            case "IwCancelableWhileBelow":
                bench.KeepReads();
                bench.ActDuringRead(_ => CancelRules.Finish(bench));
                break;
            case "StartIoCancel":
                bench.ActDuringRead(read => read.Cancel());
                break;
            case "IrqlReturn":
                OnTop(bench, static (top, irp) =>
                {
                    NTSTATUS status = top.SkipDown(irp);
                    top.KeLowerIrql(PASSIVE_LEVEL);
                    return status;
                });
                break;
            case "IwCompletionRoutineCopied":
                OnTop(bench, static (top, irp) => top.CopyDown(irp));
                break;
            case "WmiComplete":
                bench.Send(IRP_MJ_SYSTEM_CONTROL, IRP_MN_QUERY_ALL_DATA, new() { WMI = new() { ProviderId = bench.Lower.Device.AttachedDevice.Address } });
                break;
            case "IwIrpLeakedAtUnload":
                bench.Act = () =>
                {
                    using (DeviceHandle handle = DeviceHandle.Open(bench.Machine, Bench.DeviceName)) handle.Read(new byte[16]);
                    Assert.True(bench.Machine.Drivers.Unload(bench.Machine.Drivers.All.Single(driver => driver.Name == Drivers[rule])));
                };
                break;
            case "IwPnpLeftUnhandled":
                PlugAndPlayRules.QueryStop(bench, DriverService.Of(bench.Machine, bench.Machine.Drivers.All.Single(driver => driver.Name == Drivers[rule])));
                break;
            case "PagedCodeAtPowerTrans":
                bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, PowerTo(SYSTEM_POWER_STATE.PowerSystemSleeping3));
                break;
            case "IwAnsweredForBus":
                bench.Send(IRP_MJ_PNP, IRP_MN_QUERY_BUS_INFORMATION);
                break;
            case "IwFailedPnpSentDown":
                bench.Send(IRP_MJ_PNP, IRP_MN_START_DEVICE);
                break;
            case "IwFailedPowerSentDown":
                bench.Send(IRP_MJ_POWER, IRP_MN_QUERY_POWER, PowerTo(SYSTEM_POWER_STATE.PowerSystemSleeping3));
                break;
            case "IwPowerIrpCompletion" or "MarkDevicePower":
                bench.Send(IRP_MJ_POWER, IRP_MN_SET_POWER, PowerTo(SYSTEM_POWER_STATE.PowerSystemWorking));
                break;
            case "IwPnpNotSupportedAgain":
                SucceedOnTop(bench);
                bench.Send(IRP_MJ_PNP, IRP_MN_QUERY_CAPABILITIES);
                break;
            case "IwPowerNotSupportedAgain":
                SucceedOnTop(bench);
                bench.Send(IRP_MJ_POWER, IRP_MN_QUERY_POWER, PowerTo(SYSTEM_POWER_STATE.PowerSystemSleeping3));
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

    /// <summary>The event in the device extension of the compiled driver.</summary>
    static PKEVENT EventOf(Bench bench) => new(bench.Lower.Device.AttachedDevice.DeviceExtension.Address + 8);

    /// <summary>The function driver keeps requests of a kind until they are cancelled.</summary>
    static void KeepUntilCancelled(Bench bench, byte major)
    {
        bench.Lower.Cancelled = irp =>
        {
            bench.Lower.IoReleaseCancelSpinLock(irp.CancelIrql);
            bench.Lower.Complete(irp, STATUS_CANCELLED);
        };
        bench.Lower.Other = irp =>
        {
            if (Probe.Major(irp) != major) return bench.Lower.Complete(irp, STATUS_SUCCESS);
            bench.Lower.IoMarkIrpPending(irp);
            bench.Lower.IoSetCancelRoutine(irp, bench.Lower.Cancel);
            return STATUS_PENDING;
        };
    }

    /// <summary>A filter on top.</summary>
    static Probe AddTop(Bench bench)
    {
        var top = new Probe(null);
        bench.Machine.Run(() => bench.Add(top));
        return top;
    }

    static void OnTop(Bench bench, Func<Probe, PIRP, NTSTATUS> read)
    {
        Probe top = AddTop(bench);
        top.Read = irp => read(top, irp);
    }

    /// <summary>The filter on top has handled the request with success.</summary>
    static void SucceedOnTop(Bench bench)
    {
        Probe top = AddTop(bench);
        top.Other = irp =>
        {
            if (Probe.Major(irp) is IRP_MJ_PNP or IRP_MJ_POWER) irp.IoStatus.Status = STATUS_SUCCESS;
            return top.SkipDown(irp);
        };
    }

    /// <summary>A filter on top, under which the request is cancelled before the compiled driver gets it; in the end it is completed.</summary>
    static void CancelBefore(Bench bench, bool right)
    {
        Probe top = AddTop(bench);
        PIRP cancelled = default;
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
