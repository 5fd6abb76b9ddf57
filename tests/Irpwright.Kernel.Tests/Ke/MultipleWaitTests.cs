using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class MultipleWaitTests : SynchronizationTest
{
    NTSTATUS WaitFor(WAIT_TYPE type, long? timeout, params ReadOnlySpan<PVOID> objects) =>
        KeWaitForMultipleObjects((uint)objects.Length, objects, type, Executive, KernelMode, false, timeout, default);

    [Fact]
    public void Any_returns_the_index_of_the_first_signalled_object_and_takes_only_that() => Run(() =>
    {
        PKEVENT first = Event(SynchronizationEvent), second = Event(SynchronizationEvent, signalled: true);
        PKSEMAPHORE third = Semaphore(1);
        Assert.Equal(STATUS_WAIT_1, WaitFor(WaitAny, null, first, second, third));
        Assert.False(IsSet(second));
        Assert.Equal(1, KeReadStateSemaphore(third));
        Assert.Equal(STATUS_WAIT_2, WaitFor(WaitAny, null, first, second, third));
        Assert.Equal(STATUS_TIMEOUT, WaitFor(WaitAny, 0, first, second, third));
    });

    [Fact]
    public void Any_wakes_for_whichever_object_is_signalled_later() => Run(() =>
    {
        PKEVENT[] events = [Event(SynchronizationEvent), Event(SynchronizationEvent), Event(SynchronizationEvent)];
        for (int i = 2; i >= 0; i--)
        {
            NTSTATUS status = Untouched;
            KernelThread waiter = Fork(() => status = WaitFor(WaitAny, null, events[0], events[1], events[2]));
            UntilWaiting(waiter);
            KeSetEvent(events[i], 0, false);
            Join();
            Assert.Equal(STATUS_WAIT_0 + i, status);
            Assert.False(IsSet(events[i]));
        }
    });

    [Fact]
    public void All_takes_nothing_until_it_can_take_everything() => Run(() =>
    {
        PKEVENT first = Event(SynchronizationEvent), second = Event(SynchronizationEvent);
        NTSTATUS status = Untouched;
        KernelThread waiter = Fork(() => status = WaitFor(WaitAll, null, first, second));
        UntilWaiting(waiter);
        KeSetEvent(first, 0, false);
        Assert.True(IsSet(first));
        Assert.True(waiter.Wait.IsActive);
        Assert.Equal(STATUS_SUCCESS, WaitFor(first, 0)); // somebody else may have it meanwhile
        KeSetEvent(second, 0, false);
        Assert.True(IsSet(second));
        KeSetEvent(first, 0, false);
        Join();
        Assert.Equal(STATUS_SUCCESS, status);
        Assert.False(IsSet(first));
        Assert.False(IsSet(second));
    });

    [Fact]
    public void A_wait_for_all_does_not_keep_a_later_wait_for_one_from_its_object() => Run(() =>
    {
        PKEVENT first = Event(SynchronizationEvent), second = Event(SynchronizationEvent);
        KernelThread all = Fork(() => WaitFor(WaitAll, null, first, second));
        UntilWaiting(all);
        KernelThread one = Fork(() =>
        {
            WaitFor(first);
            Step("one");
        });
        UntilWaiting(one);
        KeSetEvent(first, 0, false);
        Eventually(() => Steps.Count == 1);
        KeSetEvent(first, 0, false);
        KeSetEvent(second, 0, false);
        Join();
        Assert.Equal(["one"], Steps);
    });

    [Theory]
    [InlineData(WaitAll)]
    [InlineData(WaitAny)]
    public void A_wait_that_timed_out_takes_no_later_signal(WAIT_TYPE type) => Run(() =>
    {
        PKEVENT first = Event(SynchronizationEvent), second = Event(SynchronizationEvent);
        long start = Machine.Scheduler.InterruptTime;
        Assert.Equal(STATUS_TIMEOUT, WaitFor(type, -5 * Millisecond, first, second));
        ItIs(start + 5 * Millisecond);
        KeSetEvent(first, 0, false);
        KeSetEvent(second, 0, false);
        Assert.True(IsSet(first));
        Assert.True(IsSet(second));
    });

    [Fact]
    public void The_array_of_a_compiled_caller_lies_in_guest_memory() => Run(() =>
    {
        var objects = new PPVOID(Memory(2 * 8).Address);
        objects[0] = Event();
        objects[1] = Event(signalled: true);
        Assert.Equal(STATUS_WAIT_1, KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, false, null, default));
    });

    [Fact]
    public void With_wait_blocks_of_the_caller_64_objects_are_possible() => Run(() =>
    {
        PVOID[] objects = [.. Enumerable.Range(0, MAXIMUM_WAIT_OBJECTS).Select(_ => (PVOID)Event())];
        var blocks = new PKWAIT_BLOCK(Memory(MAXIMUM_WAIT_OBJECTS * KWAIT_BLOCK.SizeOf).Address);
        NTSTATUS status = Untouched;
        KernelThread waiter = Fork(() => status = KeWaitForMultipleObjects(64, objects, WaitAny, Executive, KernelMode, false, null, blocks));
        UntilWaiting(waiter);
        KeSetEvent((PKEVENT)objects[63], 0, false);
        Join();
        Assert.Equal(STATUS_WAIT_63, status);
    });

    [Theory]
    [InlineData(THREAD_WAIT_OBJECTS + 1, false)]
    [InlineData(MAXIMUM_WAIT_OBJECTS + 1, true)]
    public void More_objects_than_wait_blocks_stop_the_machine(int count, bool withBlocks) => Stops(MAXIMUM_WAIT_OBJECTS_EXCEEDED, () =>
    {
        PVOID[] objects = [.. Enumerable.Range(0, count).Select(_ => (PVOID)Event(signalled: true))];
        var blocks = new PKWAIT_BLOCK(withBlocks ? Memory(count * KWAIT_BLOCK.SizeOf).Address : 0);
        KeWaitForMultipleObjects((uint)count, objects, WaitAny, Executive, KernelMode, false, null, blocks);
    });

    [Fact]
    public void At_DISPATCH_LEVEL_it_may_only_look() => Stops(ATTEMPTED_SWITCH_FROM_DPC, () =>
    {
        PKEVENT first = Event(signalled: true), second = Event();
        KeRaiseIrql(DISPATCH_LEVEL, out _);
        Assert.Equal(STATUS_TIMEOUT, WaitFor(WaitAll, 0, first, second));
        Assert.Equal(STATUS_WAIT_0, WaitFor(WaitAny, null, first, second));
        WaitFor(WaitAll, null, first, second);
    });

    [Theory]
    [InlineData(WaitAny, "any")]
    [InlineData(WaitAll, "all")]
    public void A_hang_names_every_object(WAIT_TYPE type, string word)
    {
        PVOID[] objects = [];
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            objects = [Event(), Semaphore(0), new PVOID(Machine.CurrentThread.Object.Address)];
            WaitFor(type, null, objects);
        }));
        Assert.Contains($"user waits for {word} of the event at {objects[0]} and the semaphore at {objects[1]} and the end of T", hang.Message, StringComparison.Ordinal);
    }

    /// <summary>Each philosopher takes both forks at once, so that nobody starves to death with one.</summary>
    [Theory, MemberData(nameof(EveryOrder))]
    public void Taking_all_is_one_step_whoever_contends(int order) => RunInOrder(order, () =>
    {
        const int philosophers = 3, meals = 10;
        PKMUTANT[] forks = [.. Enumerable.Range(0, philosophers).Select(_ => Mutex())];
        int[] held = new int[philosophers];
        int eaten = 0;
        for (int i = 0; i < philosophers; i++)
        {
            int left = i, right = (i + 1) % philosophers;
            Fork(() =>
            {
                for (int n = 0; n < meals; n++)
                {
                    Assert.Equal(STATUS_SUCCESS, WaitFor(WaitAll, null, forks[left], forks[right]));
                    Assert.Equal(1, Interlocked.Increment(ref held[left]));
                    Assert.Equal(1, Interlocked.Increment(ref held[right]));
                    Interlocked.Increment(ref eaten);
                    Interlocked.Decrement(ref held[left]);
                    Interlocked.Decrement(ref held[right]);
                    KeReleaseMutex(forks[left], false);
                    KeReleaseMutex(forks[right], false);
                }
            });
        }
        Join();
        Assert.Equal(philosophers * meals, eaten);
    });

    // ---- Pulses, and waits that follow at once

    [Theory]
    [InlineData(NotificationEvent, 2)]
    [InlineData(SynchronizationEvent, 1)]
    public void A_pulse_wakes_who_waits_and_leaves_the_event_reset(EVENT_TYPE type, int woken) => Run(() =>
    {
        PKEVENT target = Event(type);
        Assert.Equal(0, KePulseEvent(target, 0, false));
        Assert.False(IsSet(target));
        KernelThread[] waiters = [.. Enumerable.Range(0, 2).Select(_ => Fork(() =>
        {
            Wait(target);
            Step("woken");
        }))];
        foreach (KernelThread waiter in waiters) UntilWaiting(waiter);
        Assert.Equal(0, KePulseEvent(target, 1, false));
        Eventually(() => Steps.Count == woken);
        Assert.False(IsSet(target));
        Assert.Equal(woken, waiters.Count(w => w.PriorityIncrement == 1));
        if (woken == 1) KeSetEvent(target, 0, false);
        Join();
    });

    [Fact]
    public void A_pulse_tells_that_the_event_was_set_and_resets_it() => Run(() =>
    {
        PKEVENT target = Event(signalled: true);
        Assert.Equal(1, KePulseEvent(target, 0, false));
        Assert.False(IsSet(target));
    });

    [Fact]
    public void Wait_TRUE_keeps_DISPATCH_LEVEL_until_the_wait_that_follows() => Run(() =>
    {
        PKEVENT ping = Event(SynchronizationEvent), pong = Event(SynchronizationEvent);
        PKMUTANT mutex = Mutex();
        Fork(() =>
        {
            for (int i = 0; i < 4; i++)
            {
                Wait(ping);
                KeSetEvent(pong, 0, false);
            }
        });
        Each(() => KeSetEvent(ping, 0, true));
        Each(() => KePulseEventUntilTaken(ping));
        PKSEMAPHORE semaphore = Semaphore(0);
        Each(() =>
        {
            KeSetEvent(ping, 0, false);
            KeReleaseSemaphore(semaphore, 0, 1, true);
        });
        Each(() =>
        {
            KeSetEvent(ping, 0, false);
            WaitFor(mutex);
            KeReleaseMutex(mutex, true);
        });
        Join();

        void Each(Action signal)
        {
            signal();
            Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
            Assert.Equal(STATUS_SUCCESS, WaitFor(pong));
            Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        }
    });

    // A pulse reaches only who waits already.
    void KePulseEventUntilTaken(PKEVENT target)
    {
        KernelThread waiter = Machine.Scheduler.Threads.Single(t => t.Name == "helper");
        UntilWaiting(waiter);
        KePulseEvent(target, 0, true);
    }
}
