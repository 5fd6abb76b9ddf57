using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class WaitTests : DriverTest
{
    const long Second = 10_000_000;

    NTSTATUS WaitFor(PVOID target, long? timeout) => KeWaitForSingleObject(target, Executive, KernelMode, false, timeout);

    [Theory]
    [InlineData(NotificationEvent, true)]
    [InlineData(SynchronizationEvent, false)]
    public void A_wait_takes_the_signal_of_a_synchronization_event_and_leaves_a_notification_event_set(EVENT_TYPE type, bool staysSet) => Run(() =>
    {
        PKEVENT target = Event(type, signalled: true);
        Wait(target);
        Assert.Equal(staysSet, IsSet(target));
        Assert.Equal(staysSet ? STATUS_SUCCESS : STATUS_TIMEOUT, WaitFor(target, 0));
    });

    [Theory]
    [InlineData(NotificationEvent, 3)]
    [InlineData(SynchronizationEvent, 1)]
    public void Setting_wakes_all_waiters_of_a_notification_event_and_one_of_a_synchronization_event(EVENT_TYPE type, int woken) => Run(() =>
    {
        PKEVENT target = Event(type);
        for (int i = 0; i < 3; i++)
        {
            string name = $"waiter {i}";
            Start(() =>
            {
                Wait(target);
                Step(name);
            });
        }
        WaitFor(Event(), -Second); // all of them wait now
        Assert.Equal(0, KeSetEvent(target, 0, false));
        WaitFor(Event(), -Second);
        // First come, first served; real threads come as they like.
        if (Here == Scheduling.Controlled) Assert.Equal(Enumerable.Range(0, woken).Select(i => $"waiter {i}"), Steps);
        else Eventually(() => Steps.Count == woken);
    });

    [Fact]
    public void Setting_clearing_and_resetting_tell_the_previous_state() => Run(() =>
    {
        PKEVENT target = Event();
        Assert.Equal(0, KeSetEvent(target, 0, false));
        Assert.Equal(1, KeSetEvent(target, 0, false));
        Assert.Equal(1, KeReadStateEvent(target));
        Assert.Equal(1, KeResetEvent(target));
        Assert.Equal(0, KeResetEvent(target));
        KeSetEvent(target, 0, false);
        KeClearEvent(target);
        Assert.Equal(0, KeReadStateEvent(target));
    });

    [Fact]
    public void A_relative_timeout_ends_the_wait_after_that_time() => Run(() =>
    {
        long start = Machine.Scheduler.InterruptTime;
        Assert.Equal(STATUS_TIMEOUT, WaitFor(Event(), -3 * Second));
        ItIs(start + 3 * Second);
    });

    [Fact]
    public void An_absolute_timeout_ends_the_wait_at_that_system_time_or_at_once_when_it_is_past() => Run(() =>
    {
        long start = Machine.Scheduler.InterruptTime;
        long systemTime = Machine.Scheduler.BootTime + start;
        Assert.Equal(STATUS_TIMEOUT, WaitFor(Event(), systemTime + 2 * Second));
        ItIs(start + 2 * Second);
        Assert.Equal(STATUS_TIMEOUT, WaitFor(Event(), systemTime));
        ItIs(start + 2 * Second);
    });

    [Fact]
    public void A_zero_timeout_only_looks_and_is_allowed_at_DISPATCH_LEVEL() => Run(() =>
    {
        long start = Machine.Scheduler.InterruptTime;
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.Equal(STATUS_TIMEOUT, WaitFor(Event(), 0));
        Assert.Equal(STATUS_SUCCESS, WaitFor(Event(signalled: true), 0));
        KeLowerIrql(old);
        ItIs(start);
    });

    [Theory]
    [InlineData(-10_000L)]
    [InlineData(null)]
    [Spec("DPC-08")]
    public void A_wait_that_would_block_at_DISPATCH_LEVEL_stops_the_machine(long? timeout) => Stops(ATTEMPTED_SWITCH_FROM_DPC, () =>
    {
        KeRaiseIrql(DISPATCH_LEVEL, out _);
        WaitFor(Event(), timeout);
    });

    [Fact]
    [Spec("DPC-08")]
    public void A_DPC_that_waits_stops_the_machine() => Stops(ATTEMPTED_SWITCH_FROM_DPC, () =>
    {
        AfterOneMillisecond((_, _, _, _) => WaitFor(Event(), null));
        WaitFor(Event(), null);
    });

    [Fact]
    public void A_signal_before_the_timeout_ends_the_wait_in_success() => Run(() =>
    {
        PKEVENT target = Event();
        long start = Machine.Scheduler.InterruptTime;
        AfterOneMillisecond((_, _, _, _) => KeSetEvent(target, 0, false));
        Assert.Equal(STATUS_SUCCESS, WaitFor(target, -60 * Second));
        ItIs(start + 10_000);
    });

    [Fact]
    public void A_waiter_that_gave_up_does_not_take_a_later_signal() => Run(() =>
    {
        PKEVENT target = Event(SynchronizationEvent);
        Assert.Equal(STATUS_TIMEOUT, WaitFor(target, -Second));
        KeSetEvent(target, 0, false);
        Assert.True(IsSet(target));
        Assert.Equal(STATUS_SUCCESS, WaitFor(target, 0));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Two_threads_can_pass_the_turn_back_and_forth(Scheduling scheduling) => Run(scheduling, () =>
    {
        const int rounds = 100;
        PKEVENT ping = Event(SynchronizationEvent), pong = Event(SynchronizationEvent);
        int turns = 0;
        Start(() =>
        {
            for (int i = 0; i < rounds; i++)
            {
                Wait(ping);
                Assert.Equal(2 * i + 1, ++turns);
                KeSetEvent(pong, 0, false);
            }
        });
        for (int i = 0; i < rounds; i++)
        {
            KeSetEvent(ping, 0, false);
            Wait(pong);
            Assert.Equal(2 * i + 2, ++turns);
        }
    });

    [Fact]
    public void Waiting_for_what_nobody_signals_is_reported_as_a_hang()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() => Wait(Event())));
        Assert.Contains("user waits for the event at", hang.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wait_goes_on_after_an_APC_that_waited_itself() => Run(() =>
    {
        PIRP held = default;
        PKEVENT target = Event();
        Device((_, irp) =>
        {
            switch (IoGetCurrentIrpStackLocation(irp).MajorFunction)
            {
                case IRP_MJ_FLUSH_BUFFERS:
                    IoMarkIrpPending(irp);
                    held = irp;
                    return STATUS_PENDING;
                case IRP_MJ_CLOSE:
                    Step("close");
                    return CompleteSomehow(irp, Completing.FromADpc, STATUS_SUCCESS);
                default:
                    return Complete(irp, STATUS_SUCCESS);
            }
        }, name: @"\Device\Closing");
        Assert.Equal(STATUS_SUCCESS, Machine.Files.Open(@"\Device\Closing", GENERIC_READ, 0, UserMode, out PFILE_OBJECT file));
        Machine.Requests.Send(file, new IoRequest(IRP_MJ_FLUSH_BUFFERS), StatusBlock(), null, out _);
        Machine.Files.Close(file);
        Start(() =>
        {
            // Finished by APC in the waiting thread: the last reference goes, and IRP_MJ_CLOSE is waited for.
            Complete(held, STATUS_SUCCESS);
            Eventually(() => Steps.Count > 0);
            Step("set");
            KeSetEvent(target, 0, false);
        });
        Wait(target);
        Step("woken");
        Assert.Equal(["close", "set", "woken"], Steps);
    });
}
