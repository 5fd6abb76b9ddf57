using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class ExTimerTests : DriverTest
{
    const long Millisecond = 10_000;

    bool WaitFor(PEX_TIMER timer, long? timeout = null) =>
        KeWaitForSingleObject(timer, Executive, KernelMode, false, timeout) == STATUS_SUCCESS;

    [Fact]
    public void A_timer_calls_back_when_it_is_due_and_is_signalled() => Run(() =>
    {
        PKEVENT called = Event();
        PEX_TIMER timer = default;
        timer = ExAllocateTimer((t, context) =>
        {
            Assert.Equal(timer, t);
            Assert.Equal(0x77UL, context.Address);
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            KeSetEvent(called, 0, false);
        }, new PVOID(0x77), EX_TIMER_NOTIFICATION);
        long start = (long)KeQueryInterruptTime();
        Assert.False(ExSetTimer(timer, -3_600_000 * Millisecond, 0, default));
        Assert.False(WaitFor(timer, 0));
        Assert.True(ExSetTimer(timer, -2 * Millisecond, 0, default));
        Wait(called);
        ItIs(start + 2 * Millisecond);
        Assert.True(WaitFor(timer, 0));
        Assert.True(WaitFor(timer, 0)); // stays signalled
        Assert.False(ExCancelTimer(timer, default));
        Assert.False(ExDeleteTimer(timer, true, true, default));
    });

    [Fact]
    public void A_synchronization_timer_releases_one_wait_and_works_without_callback() => Run(() =>
    {
        PEX_TIMER timer = ExAllocateTimer(default(PEXT_CALLBACK), default, EX_TIMER_NO_WAKE);
        var parameters = (PEXT_SET_PARAMETERS)Memory(EXT_SET_PARAMETERS.SizeOf);
        Fill(parameters, EXT_SET_PARAMETERS.SizeOf);
        ExInitializeSetTimerParameters(parameters);
        Assert.Equal(new byte[EXT_SET_PARAMETERS.SizeOf], Bytes(parameters, EXT_SET_PARAMETERS.SizeOf));
        parameters.NoWakeTolerance = EX_TIMER_UNLIMITED_TOLERANCE;
        KeQuerySystemTime(out LARGE_INTEGER now);
        ExSetTimer(timer, now + Millisecond, 0, parameters);
        Assert.True(WaitFor(timer));
        Assert.False(WaitFor(timer, 0));
        ExDeleteTimer(timer, true, true, default);
    });

    [Fact]
    public void A_periodic_timer_goes_on_until_it_is_cancelled() => Run(() =>
    {
        int calls = 0;
        PKEVENT called = Event(SynchronizationEvent);
        PEX_TIMER timer = ExAllocateTimer((_, _) =>
        {
            Interlocked.Increment(ref calls);
            KeSetEvent(called, 0, false);
        }, default, EX_TIMER_HIGH_RESOLUTION);
        ExSetTimer(timer, -Millisecond, 3 * Millisecond, default);
        for (int i = 0; i < 3; i++) Wait(called);
        Assert.True(ExCancelTimer(timer, default));
        Assert.False(ExCancelTimer(timer, default));
        KeFlushQueuedDpcs();
        int before = calls;
        KeDelayExecutionThread(KernelMode, false, -10 * Millisecond);
        Assert.Equal(before, calls);
        ExDeleteTimer(timer, true, true, default);
    });

    [Fact]
    public void Setting_a_timer_again_replaces_what_was_set() => Run(() =>
    {
        PEX_TIMER timer = ExAllocateTimer((_, _) => Step("called"), default, 0);
        Assert.False(ExSetTimer(timer, -3_600_000 * Millisecond, 0, default));
        Assert.True(ExSetTimer(timer, -Millisecond, 0, default));
        Assert.True(WaitFor(timer));
        Assert.False(ExSetTimer(timer, -3_600_000 * Millisecond, 0, default));
        Assert.True(ExDeleteTimer(timer, true, true, default));
        Assert.Equal(["called"], Steps);
    });

    [Fact]
    public void Deleting_waits_for_the_callback_and_then_tells() => Run(() =>
    {
        PKEVENT inside = Event();
        var parameters = (PEXT_DELETE_PARAMETERS)Memory(EXT_DELETE_PARAMETERS.SizeOf);
        Fill(parameters, EXT_DELETE_PARAMETERS.SizeOf);
        ExInitializeDeleteTimerParameters(parameters);
        Assert.Equal(new byte[EXT_DELETE_PARAMETERS.SizeOf], Bytes(parameters, EXT_DELETE_PARAMETERS.SizeOf));
        parameters.DeleteContext = new PVOID(0x88);
        parameters.DeleteCallback = Machine.Code.Routine((EXT_DELETE_CALLBACK)(context => Step($"deleted {context.Address:X} at {KeGetCurrentIrql()}")));
        PEX_TIMER timer = ExAllocateTimer((_, _) =>
        {
            KeSetEvent(inside, 0, false);
            KeStallExecutionProcessor(500);
            Step("callback");
        }, default, 0);
        ExSetTimer(timer, -Millisecond, 0, default);
        Wait(inside);
        Assert.False(ExDeleteTimer(timer, true, true, parameters));
        Step("returned");
        Assert.Equal(["callback", "deleted 88 at 2", "returned"], Steps);
    });

    [Fact]
    public void Without_cancelling_a_timer_expires_once_more_before_it_is_deleted() => Run(() =>
    {
        PKEVENT deleted = Event();
        var parameters = (PEXT_DELETE_PARAMETERS)Memory(EXT_DELETE_PARAMETERS.SizeOf);
        ExInitializeDeleteTimerParameters(parameters);
        parameters.DeleteCallback = Machine.Code.Routine((EXT_DELETE_CALLBACK)(_ =>
        {
            Step("deleted");
            KeSetEvent(deleted, 0, false);
        }));
        PEX_TIMER timer = ExAllocateTimer((_, _) => Step("callback"), default, 0);
        ExSetTimer(timer, -500 * Millisecond, 5 * Millisecond, default);
        Assert.False(ExDeleteTimer(timer, false, false, parameters));
        Assert.False(ExSetTimer(timer, -Millisecond, 0, default)); // disabled
        Assert.False(ExCancelTimer(timer, default));
        Assert.False(ExDeleteTimer(timer, true, true, default));
        Wait(deleted);
        KeDelayExecutionThread(KernelMode, false, -20 * Millisecond);
        Assert.Equal(["callback", "deleted"], Steps);
    });

    [Fact]
    public void The_callback_may_delete_its_timer() => Run(() =>
    {
        PKEVENT deleted = Event();
        var parameters = (PEXT_DELETE_PARAMETERS)Memory(EXT_DELETE_PARAMETERS.SizeOf);
        ExInitializeDeleteTimerParameters(parameters);
        parameters.DeleteCallback = Machine.Code.Routine((EXT_DELETE_CALLBACK)(_ => KeSetEvent(deleted, 0, false)));
        PEX_TIMER timer = ExAllocateTimer((t, _) =>
        {
            Assert.False(ExDeleteTimer(t, true, false, parameters));
            Step(ExSetTimer(t, -Millisecond, 0, default) ? "set" : "disabled");
        }, default, 0);
        ExSetTimer(timer, -Millisecond, 0, default);
        Wait(deleted);
        Assert.Equal(["disabled"], Steps);
    });

    [Fact]
    public void Contradictory_attributes_stop_the_machine() => Stops(TIMER_OR_DPC_INVALID, () =>
        ExAllocateTimer(default(PEXT_CALLBACK), default, EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE));

    [Fact]
    public void A_high_resolution_timer_wants_a_relative_time() => Stops(TIMER_OR_DPC_INVALID, () =>
        ExSetTimer(ExAllocateTimer(default(PEXT_CALLBACK), default, EX_TIMER_HIGH_RESOLUTION), 5, 0, default));

    [Fact]
    public void A_negative_tolerance_stops_the_machine() => Stops(TIMER_OR_DPC_INVALID, () =>
    {
        var parameters = (PEXT_SET_PARAMETERS)Memory(EXT_SET_PARAMETERS.SizeOf);
        parameters.NoWakeTolerance = -2;
        ExSetTimer(ExAllocateTimer(default(PEXT_CALLBACK), default, EX_TIMER_NO_WAKE), -5, 0, parameters);
    });

    [Fact]
    public void Waiting_without_cancelling_stops_the_machine() => Stops(TIMER_OR_DPC_INVALID, () =>
        ExDeleteTimer(ExAllocateTimer(default(PEXT_CALLBACK), default, 0), false, true, default));

    [Fact]
    public void Waiting_at_DISPATCH_LEVEL_stops_the_machine() => Stops(ATTEMPTED_SWITCH_FROM_DPC, () =>
    {
        PEX_TIMER timer = ExAllocateTimer(default(PEXT_CALLBACK), default, 0);
        KeRaiseIrql(DISPATCH_LEVEL, out _);
        ExDeleteTimer(timer, true, true, default);
    });

    [Fact]
    public void A_deleted_timer_cannot_be_set() => Stops(TIMER_OR_DPC_INVALID, () =>
    {
        PEX_TIMER timer = ExAllocateTimer(default(PEXT_CALLBACK), default, 0);
        ExDeleteTimer(timer, true, true, default);
        ExSetTimer(timer, -5, 0, default);
    });

    [Fact]
    public void A_coalescable_timer_expires_when_it_is_due() => Run(() =>
    {
        var timer = (PKTIMER)Memory(KTIMER.SizeOf);
        KeInitializeTimer(timer);
        PKDPC dpc = (PKDPC)Memory(KDPC.SizeOf);
        PKEVENT called = Event();
        KeInitializeDpc(dpc, (_, _, _, _) => KeSetEvent(called, 0, false), default);
        long start = (long)KeQueryInterruptTime();
        Assert.False(KeSetCoalescableTimer(timer, -3_600_000 * Millisecond, 0, 100, dpc));
        Assert.True(KeSetCoalescableTimer(timer, -2 * Millisecond, 5, 100, dpc));
        Wait(called);
        ItIs(start + 2 * Millisecond);
        Assert.True(KeCancelTimer(timer));
    });

    [Fact]
    public void A_timer_either_expires_or_was_cancelled() => Run(Scheduling.FreeRunning, () =>
    {
        int expired = 0, calls = 0;
        PEX_TIMER timer = ExAllocateTimer((_, _) => calls++, default, EX_TIMER_HIGH_RESOLUTION);
        for (int i = 0; i < 5000; i++)
        {
            ExSetTimer(timer, -1, 0, default);
            // The clock comes for it some microseconds later.
            ulong time = KeQueryInterruptTime() + (ulong)(i % 3000);
            while (KeQueryInterruptTime() < time) Thread.SpinWait(1);
            if (!ExCancelTimer(timer, default)) expired++;
            KeFlushQueuedDpcs();
            Assert.Equal(expired, calls);
        }
        ExDeleteTimer(timer, true, true, default);
    });

    [Fact]
    public void A_timer_without_callback_is_signalled_before_it_can_be_deleted() => Run(Scheduling.FreeRunning, () =>
    {
        PEX_TIMER timer = ExAllocateTimer(default(PEXT_CALLBACK), default, EX_TIMER_HIGH_RESOLUTION);
        bool isHeld = false, isDeleted = false;
        Task holder = Task.Run(() =>
        {
            // Nobody can signal anything now.
            lock (Machine.Dispatcher.Gate)
            {
                Volatile.Write(ref isHeld, true);
                SpinWait.SpinUntil(() => Volatile.Read(ref isDeleted), 200);
            }
        });
        SpinWait.SpinUntil(() => Volatile.Read(ref isHeld));
        ExSetTimer(timer, -1, 0, default);
        SpinWait.SpinUntil(() => Machine.Scheduler.Threads.Any(thread => thread.InterruptDepth > 0));
        ExDeleteTimer(timer, true, true, default);
        byte[] freed = Bytes(timer, EX_TIMER.SizeOf);
        Volatile.Write(ref isDeleted, true);
        holder.Wait();
        // When the clock comes for another timer, it is done with this one.
        PKEVENT next = Event();
        AfterOneMillisecond((_, _, _, _) => KeSetEvent(next, 0, false));
        Wait(next);
        Assert.Equal(freed, Bytes(timer, EX_TIMER.SizeOf));
    });
}
