using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class TimerTests : DriverTest
{
    const long Millisecond = 10_000;
    const long Second = 1000 * Millisecond;

    PKTIMER NewTimer(TIMER_TYPE type = NotificationTimer)
    {
        var timer = new PKTIMER(Memory(KTIMER.SizeOf).Address);
        Fill(timer, KTIMER.SizeOf);
        KeInitializeTimerEx(timer, type);
        return timer;
    }

    PKDPC NewDpc(KDEFERRED_ROUTINE routine)
    {
        var dpc = new PKDPC(Memory(KDPC.SizeOf).Address);
        KeInitializeDpc(dpc, routine, default);
        return dpc;
    }

    long Now => Machine.Scheduler.InterruptTime;

    void Sleep(long time) => KeWaitForSingleObject(Event(), Executive, KernelMode, false, -time);

    NTSTATUS WaitFor(PKTIMER timer, long? timeout) => KeWaitForSingleObject(timer, Executive, KernelMode, false, timeout);

    [Fact]
    public void A_one_shot_timer_expires_once_at_its_relative_time() => Run(() =>
    {
        long start = Now;
        PKTIMER timer = NewTimer();
        PKDPC dpc = NewDpc((_, _, _, _) =>
        {
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            ItIs(start + 5 * Millisecond);
            Step("expired");
        });
        Assert.False(KeSetTimer(timer, -3600 * Second, dpc));
        Assert.False(KeReadStateTimer(timer));
        Assert.True(KeSetTimer(timer, -5 * Millisecond, dpc));
        Assert.Equal(STATUS_SUCCESS, WaitFor(timer, null));
        ItIs(start + 5 * Millisecond);
        Eventually(() => Steps.Count > 0);
        Sleep(50 * Millisecond);
        Assert.Equal(["expired"], Steps);
        Assert.True(KeReadStateTimer(timer));
        Assert.False(KeCancelTimer(timer));
    });

    [Fact]
    public void An_absolute_time_is_system_time_and_one_in_the_past_is_now() => Run(() =>
    {
        long start = Now;
        PKTIMER timer = NewTimer();
        KeSetTimer(timer, Machine.Scheduler.BootTime + start + 3 * Millisecond, default);
        WaitFor(timer, null);
        ItIs(start + 3 * Millisecond);
        KeSetTimer(timer, 0, default);
        WaitFor(timer, null);
        ItIs(start + 3 * Millisecond);
    });

    [Fact]
    public void A_periodic_timer_expires_again_and_again_until_it_is_cancelled() => Run(() =>
    {
        long start = Now;
        PKTIMER timer = NewTimer(SynchronizationTimer);
        KeSetTimerEx(timer, -5 * Millisecond, 10, NewDpc((_, _, _, _) => Step("expired")));
        for (int n = 0; n < 4; n++)
        {
            WaitFor(timer, null);
            ItIs(start + (5 + 10 * n) * Millisecond);
        }
        Assert.True(KeCancelTimer(timer));
        KeFlushQueuedDpcs();
        int expired = Steps.Count;
        Assert.True(Here == Scheduling.Controlled ? expired == 4 : expired >= 4, $"It expired {expired} times.");
        Sleep(36 * Millisecond);
        Assert.Equal(expired, Steps.Count);
        Assert.False(KeCancelTimer(timer));
    });

    [Fact]
    public void A_stall_comes_to_its_end_while_a_periodic_timer_goes_on_and_somebody_waits() => Run(() =>
    {
        PKTIMER timer = NewTimer(SynchronizationTimer);
        PKEVENT stalled = Event();
        Start(() => WaitFor(timer, -10 * Second));
        KeSetTimerEx(timer, -5 * Millisecond, 10, default);
        PKDPC dpc = NewDpc((_, _, _, _) =>
        {
            KeStallExecutionProcessor(20);
            KeSetEvent(stalled, 0, false);
        });
        KeStallExecutionProcessor(20);
        KeInsertQueueDpc(dpc, default, default);
        Wait(stalled);
        KeCancelTimer(timer);
    });

    [Fact]
    public void Setting_a_timer_again_replaces_its_time_and_clears_its_signal() => Run(() =>
    {
        long start = Now;
        PKTIMER timer = NewTimer();
        PKDPC dpc = NewDpc((_, _, _, _) =>
        {
            ItIs(start + Second);
            Step("expired");
        });
        KeSetTimer(timer, -500 * Millisecond, dpc);
        Assert.True(KeSetTimer(timer, -Second, dpc));
        WaitFor(timer, null);
        KeFlushQueuedDpcs();
        Assert.Equal(["expired"], Steps);
        Assert.True(KeReadStateTimer(timer));
        Assert.False(KeSetTimer(timer, -Second, default));
        Assert.False(KeReadStateTimer(timer));
    });

    [Fact]
    public void A_cancelled_timer_neither_signals_nor_runs_its_DPC() => Run(() =>
    {
        PKTIMER timer = NewTimer();
        KeSetTimer(timer, -500 * Millisecond, NewDpc((_, _, _, _) => Step("never")));
        Assert.True(KeCancelTimer(timer));
        Assert.Equal(STATUS_TIMEOUT, WaitFor(timer, -600 * Millisecond));
        Assert.Empty(Steps);
    });

    [Theory]
    [InlineData(NotificationTimer, true)]
    [InlineData(SynchronizationTimer, false)]
    public void A_synchronization_timer_is_taken_by_one_wait(TIMER_TYPE type, bool staysSet) => Run(() =>
    {
        PKTIMER timer = NewTimer(type);
        KeSetTimer(timer, -Millisecond, default);
        Assert.Equal(STATUS_SUCCESS, WaitFor(timer, null));
        Assert.Equal(staysSet, (bool)KeReadStateTimer(timer));
    });

    [Fact]
    public void Timers_expire_in_the_order_of_their_times_then_of_setting() => Run(() =>
    {
        foreach ((string name, long time) in ((string, long)[])[("c", 600), ("a", 200), ("b", 400), ("also a", 200)])
            KeSetTimer(NewTimer(), -time * Millisecond, NewDpc((_, _, _, _) => Step(name)));
        Eventually(() => Steps.Count == 4);
        Assert.Equal(["a", "also a", "b", "c"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_timer_set_over_and_over_expires_only_as_set_last(Scheduling scheduling) => Run(scheduling, () =>
    {
        int runs = 0;
        PKTIMER timer = NewTimer();
        PKDPC dpc = NewDpc((_, _, _, _) => Interlocked.Increment(ref runs));
        for (int i = 0; i < 200; i++)
        {
            // Due at about the time it is withdrawn.
            KeSetTimer(timer, -10, dpc);
            KeSetTimer(timer, -36_000_000_000, dpc);
            int before = Volatile.Read(ref runs);
            Machine.Scheduler.Yield(Machine.CurrentThread, SchedulingPoint.Call);
            Assert.InRange(Volatile.Read(ref runs), before, before + 1);
        }
        Assert.True(KeCancelTimer(timer)); // the last setting is still to come
    });

    [Fact]
    [Spec("DPC-04")]
    public void A_timer_that_is_signalled_has_queued_its_DPC() => Run(Scheduling.FreeRunning, () =>
    {
        PKTIMER timer = NewTimer();
        PKDPC dpc = NewDpc((_, _, _, _) => Step("expired"));
        lock (Machine.Dispatcher.Gate)
        {
            // Nobody can signal anything now.
            KeSetTimer(timer, -1, dpc);
            Assert.True(SpinWait.SpinUntil(() => !dpc.DpcData.IsNull, 5000));
            Assert.False(KeReadStateTimer(timer));
        }
        // Whoever cancels it in vain, or waited for it, and then flushes may free both.
        Assert.False(KeCancelTimer(timer));
        KeFlushQueuedDpcs();
        Assert.Equal(["expired"], Steps);
    });
}
