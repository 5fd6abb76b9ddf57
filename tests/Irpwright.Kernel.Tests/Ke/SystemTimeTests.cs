using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public sealed class SystemTimeTests : IDisposable
{
    readonly Machine machine = new();

    public void Dispose() => machine.Dispose();

    SystemTime Time => machine.Time;

    PKUSER_SHARED_DATA Page => new(machine.Memory.SharedUserData);

    static long Value(KSYSTEM_TIME time) => (long)time.High1Time << 32 | time.LowPart;

    [Fact]
    public void The_shared_page_describes_Windows_10_22H2()
    {
        Assert.Equal((10u, 0u, 19045u), (Page.NtMajorVersion, Page.NtMinorVersion, Page.NtBuildNumber));
        Assert.Equal(0x0FA00000u, Page.TickCountMultiplier);
        Assert.Equal(@"C:\Windows", new string(Page.NtSystemRoot[..10]));
    }

    [Fact]
    public void A_stall_moves_virtual_time_and_the_shared_page()
    {
        machine.Run(() =>
        {
            Time.KeQuerySystemTime(out long before);
            Time.KeStallExecutionProcessor(50);
            Time.KeQuerySystemTimePrecise(out long after);
            Assert.Equal(500, after - before);
            Assert.Equal(500ul, Time.KeQueryInterruptTime());
            Assert.Equal(500, Value(Page.InterruptTime));
            Assert.Equal(after, Value(Page.SystemTime));
        });
    }

    [Fact]
    public void Waiting_moves_time_by_the_timeout()
    {
        machine.Run(() =>
        {
            PKEVENT never = new(machine.Pool.Allocate(NonPagedPoolNx, KEVENT.SizeOf, 1, 0));
            machine.Dispatcher.KeInitializeEvent(never, NotificationEvent, false);
            Assert.Equal(STATUS_TIMEOUT, machine.Dispatcher.KeWaitForSingleObject(never, Executive, KernelMode, false, -10 * 156_250));
            Time.KeQueryTickCount(out long ticks);
            Assert.Equal(10, ticks);
            Assert.Equal(10ul, Page.TickCountQuad);
            Assert.Equal(1_562_500, Time.KeQueryPerformanceCounter(default));
        });
    }

    [Fact]
    public void A_thread_sleeps_for_an_interval_or_until_a_time()
    {
        machine.Run(() =>
        {
            Assert.Equal(STATUS_SUCCESS, machine.Dispatcher.KeDelayExecutionThread(KernelMode, false, -1000));
            Assert.Equal(1000ul, Time.KeQueryInterruptTime());
            machine.Dispatcher.KeDelayExecutionThread(KernelMode, false, Time.Now + 500);
            Assert.Equal(1500ul, Time.KeQueryInterruptTime());
            machine.Dispatcher.KeDelayExecutionThread(KernelMode, false, 0);
            Assert.Equal(1500ul, Time.KeQueryInterruptTime());
        });
        BugCheckReport report = Crash.Of(machine, () =>
        {
            machine.Irqls.KeRaiseIrqlToDpcLevel();
            machine.Dispatcher.KeDelayExecutionThread(KernelMode, false, -1);
        });
        Assert.Equal(ATTEMPTED_SWITCH_FROM_DPC, report.Code);
    }

    [Fact]
    public void The_performance_counter_has_10_MHz()
    {
        PLARGE_INTEGER frequency = new(machine.Pool.Allocate(NonPagedPoolNx, 8, 1, 0));
        Time.KeQueryPerformanceCounter(frequency);
        Assert.Equal(10_000_000, frequency.Value);
        Assert.Equal(10_000_000, Page.QpcFrequency);
        Assert.Equal(156_250u, Time.KeQueryTimeIncrement());
    }

    [Fact]
    public void A_free_running_clock_keeps_the_shared_page_current()
    {
        using var free = new Machine(new MachineOptions { Strategy = null });
        PKUSER_SHARED_DATA page = new(free.Memory.SharedUserData);
        free.Run(() =>
        {
            free.Time.StartClock();
            long first = Value(page.InterruptTime);
            for (int i = 0; i < 500 && Value(page.InterruptTime) == first; i++) free.Time.KeStallExecutionProcessor(10_000);
            Assert.True(Value(page.InterruptTime) > first);
        });
    }

    [Theory]
    [InlineData(0L, "1601-01-01 00:00:00.000", 1)]
    [InlineData(134_116_992_000_000_000L, "2026-01-01 00:00:00.000", 4)]
    [InlineData(125_911_583_990_000_000L, "1999-12-31 23:59:59.000", 5)]
    [InlineData(130_000_000_000_000_000L, "2012-12-14 23:06:40.000", 5)]
    [InlineData(9_222_000_000_000_000_000L, "30824-05-10 02:40:00.000", 5)]
    public void Time_becomes_calendar_fields_and_back(long time, string expected, int weekday)
    {
        Time.RtlTimeToTimeFields(ref time, out TIME_FIELDS fields);
        Assert.Equal(expected,
            $"{fields.Year:0000}-{fields.Month:00}-{fields.Day:00} " +
            $"{fields.Hour:00}:{fields.Minute:00}:{fields.Second:00}.{fields.Milliseconds:000}");
        Assert.Equal(weekday, fields.Weekday);
        Assert.True(Time.RtlTimeFieldsToTime(ref fields, out long back));
        Assert.Equal(time, back);
    }

    [Fact]
    public void Fields_out_of_range_are_no_time()
    {
        var fields = new TIME_FIELDS { Year = 2023, Month = 2, Day = 29 };
        Assert.False(Time.RtlTimeFieldsToTime(ref fields, out _));
        fields = new TIME_FIELDS { Year = 2024, Month = 2, Day = 29 };
        Assert.True(Time.RtlTimeFieldsToTime(ref fields, out _));
        fields = new TIME_FIELDS { Year = 1600, Month = 1, Day = 1 };
        Assert.False(Time.RtlTimeFieldsToTime(ref fields, out _));
    }

    [Fact]
    public void Precise_and_unbiased_times_are_the_interrupt_time_and_local_time_is_UTC() => machine.Run(() =>
    {
        machine.Dispatcher.KeDelayExecutionThread(KernelMode, false, -700);
        Assert.Equal(700ul, Time.KeQueryUnbiasedInterruptTime());
        Assert.Equal(700ul, Time.KeQueryInterruptTimePrecise(out ulong counter));
        Assert.Equal(700ul, counter);
        long system = 134_116_992_000_000_000;
        Time.ExSystemTimeToLocalTime(ref system, out long local);
        Time.ExLocalTimeToSystemTime(ref local, out long back);
        Assert.Equal((system, system), (local, back));
    });
}
