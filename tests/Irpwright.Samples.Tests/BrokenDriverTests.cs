using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Samples.Tests;

/// <summary>
/// Goal: a broken driver stops its machine with the bug check that Windows would show, and nothing else. Method: one read through
/// each broken sample, in both languages, with and without checked memory; the reports name the routine.
/// </summary>
public sealed class BrokenDriverTests
{
    public static TheoryData<Form> Forms => [Form.CSharp, Form.Compiled, Form.Checked];

    const ulong AccessViolation = 0xC0000005;

    static BugCheckReport Crash(string sample, Form form, Response? answer = null, MachineOptions? options = null)
    {
        using var run = new SampleRun(sample, form, options);
        var device = new ScriptedDevice();
        if (answer is not null) device.Otherwise = request => request.MajorFunction == IRP_MJ_READ ? answer : Respond.Now();
        BugCheckReport report = Assert.Throws<BugCheckException>(() => run.Open(device).Read(new byte[512])).Report;
        Assert.Same(report, run.Machine.BugChecks.Report);
        return report;
    }

    static void Blames(string routine, BugCheckReport report) =>
        Assert.Contains(report.CallStack, f => f.Symbol.Contains(routine, StringComparison.Ordinal));

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_null_pointer_at_passive_level(Form form)
    {
        BugCheckReport report = Crash("broken-null", form);

        Assert.Equal((SYSTEM_SERVICE_EXCEPTION, AccessViolation), (report.Code, report.Parameter1));
        Assert.Contains("NULL", report.Explanation);
        Blames("BrokenNullReadDone", report);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_null_pointer_at_dispatch_level(Form form)
    {
        BugCheckReport report = Crash("broken-null", form, Respond.After(TimeSpan.FromMilliseconds(1)));

        Assert.Equal((DRIVER_IRQL_NOT_LESS_OR_EQUAL, 0UL, 2UL), (report.Code, report.Parameter1, report.Parameter2));
        Blames("BrokenNullReadDone", report);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_wild_routine_address(Form form)
    {
        BugCheckReport report = Crash("broken-wild", form);

        Assert.Equal((SYSTEM_SERVICE_EXCEPTION, AccessViolation), (report.Code, report.Parameter1));
        Assert.Matches("00000000`[0-9a-f]{8} was executed", report.Explanation);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void An_endless_loop(Form form)
    {
        var options = new MachineOptions { Watchdog = TimeSpan.FromMilliseconds(700), InstructionBudget = 1_000_000 };
        BugCheckReport report = Crash("broken-loop", form, options: options);

        Assert.Equal(THREAD_STUCK_IN_DEVICE_DRIVER, report.Code);
        Assert.NotEqual(0UL, report.Parameter1);
        Assert.Contains("loops", report.Explanation);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void An_endless_recursion(Form form)
    {
        BugCheckReport report = Crash("broken-recurse", form, Respond.Now(STATUS_IO_DEVICE_ERROR));

        Assert.Equal((UNEXPECTED_KERNEL_MODE_TRAP, 8UL), (report.Code, report.Parameter1));
        Blames("BrokenRecurse", report);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_packet_completed_twice(Form form)
    {
        BugCheckReport report = Crash("broken-double", form);

        Assert.Equal(MULTIPLE_IRP_COMPLETE_REQUESTS, report.Code);
        Assert.NotEqual(0UL, report.Parameter1);
        Blames("BrokenDoubleDispatchRead", report);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void An_exception_that_no_handler_takes(Form form)
    {
        BugCheckReport report = Crash("broken-seh", form);

        Assert.Equal((SYSTEM_SERVICE_EXCEPTION, 0xC0000094UL), (report.Code, report.Parameter1));
        Assert.Contains("by zero", report.Explanation);
        Blames("BrokenSehSectorOf", report);
        Blames("BrokenSehDispatchRead", report);
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_packet_without_a_location_left(Form form)
    {
        BugCheckReport report = Crash("broken-stack", form);

        Assert.Equal(NO_MORE_IRP_STACK_LOCATIONS, report.Code);
        Assert.NotEqual(0UL, report.Parameter1);
        Blames("BrokenStackDispatchRead", report);
    }
}
