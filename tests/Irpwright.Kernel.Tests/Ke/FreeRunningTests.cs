using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

/// <summary>Goal: what the host sees from outside of threads in parallel is true. Method: it looks all the time.</summary>
public sealed class FreeRunningTests : DriverTest
{
    [Fact]
    public Task Threads_that_wake_each_other_are_no_hang() => WatchedForHangs(() =>
    {
        const int rounds = 1000;
        PKEVENT ping = Event(SynchronizationEvent), pong = Event(SynchronizationEvent);
        Start(() =>
        {
            for (int i = 0; i < rounds; i++)
            {
                Wait(ping);
                KeSetEvent(pong, 0, false);
            }
        });
        for (int i = 0; i < rounds; i++)
        {
            KeSetEvent(ping, 0, false);
            Wait(pong);
        }
    });

    [Fact]
    public Task A_thread_that_spins_on_a_free_lock_is_no_hang() => WatchedForHangs(() =>
    {
        var spinLock = new PKSPIN_LOCK(Memory(8).Address);
        KeInitializeSpinLock(spinLock);
        for (int i = 0; i < 10; i++)
        {
            PKEVENT over = Event();
            KeAcquireSpinLock(spinLock, out KIRQL irql);
            KernelThread spinner = Start(() =>
            {
                KeAcquireSpinLock(spinLock, out KIRQL own);
                KeReleaseSpinLock(spinLock, own);
                KeSetEvent(over, 0, false);
            });
            SpinWait.SpinUntil(() => Volatile.Read(ref spinner.SpinningOn) != 0);
            KeReleaseSpinLock(spinLock, irql);
            Wait(over);
        }
    });

    async Task WatchedForHangs(Action scenario)
    {
        Run(Scheduling.FreeRunning, () => { });
        bool isOver = false;
        Task watching = Task.Run(() =>
        {
            for (; !Volatile.Read(ref isOver); Thread.Yield()) Machine.Scheduler.StopIfHung();
        });
        Run(scenario);
        Volatile.Write(ref isOver, true);
        await watching;
    }

    sealed class Slow(Func<bool> isSeen) : KernelObserver
    {
        public bool? WasSeen { get; private set; }

        public override void On(in BugCheckRaised e)
        {
            SpinWait.SpinUntil(isSeen, 200);
            WasSeen = isSeen();
        }
    }

    [Fact]
    public void Observers_know_of_a_bug_check_before_the_host_does()
    {
        bool isSeen = false;
        var slow = new Slow(() => Volatile.Read(ref isSeen));
        Observer = slow;
        Assert.Throws<BugCheckException>(() => Run(Scheduling.FreeRunning, () =>
        {
            Start(() => KeBugCheckEx(MANUALLY_INITIATED_CRASH, 0, 0, 0, 0));
            while (true) KeStallExecutionProcessor(1);
        }));
        Volatile.Write(ref isSeen, true);
        Assert.False(slow.WasSeen);
    }

    [Fact]
    public void A_wait_may_last_longer_than_a_thread_of_the_host_can_wait_at_once() => Run(Scheduling.FreeRunning, () =>
    {
        PKEVENT target = Event();
        KernelThread self = Machine.CurrentThread;
        Start(() =>
        {
            Eventually(() => self.Wait.IsActive);
            KeSetEvent(target, 0, false);
        });
        const long day = 864_000_000_000;
        Assert.Equal(STATUS_SUCCESS, KeWaitForSingleObject(target, Executive, KernelMode, false, -100 * day));
    });
}
