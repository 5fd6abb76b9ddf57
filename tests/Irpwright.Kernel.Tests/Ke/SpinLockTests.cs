using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class SpinLockTests : DriverTest
{
    PKSPIN_LOCK NewLock()
    {
        var spinLock = new PKSPIN_LOCK(Memory(8).Address);
        Fill(spinLock, 8);
        KeInitializeSpinLock(spinLock);
        return spinLock;
    }

    [Fact]
    public void Acquiring_a_lock_that_the_thread_holds_stops_the_machine()
    {
        PKSPIN_LOCK spinLock = default;
        BugCheckReport report = Stops(SPIN_LOCK_ALREADY_OWNED, () =>
        {
            spinLock = NewLock();
            KeAcquireSpinLock(spinLock, out _);
            KeAcquireSpinLock(spinLock, out _);
        });
        Assert.Equal(spinLock.Address, report.Parameter1);
    }

    [Fact]
    public void Releasing_a_free_lock_stops_the_machine() => Stops(SPIN_LOCK_NOT_OWNED, () =>
    {
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        KeReleaseSpinLock(NewLock(), old);
    });

    [Fact]
    public void Trying_takes_a_free_lock_only() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.True(KeTryToAcquireSpinLockAtDpcLevel(spinLock));
        Assert.False(KeTryToAcquireSpinLockAtDpcLevel(spinLock));
        KeReleaseSpinLockFromDpcLevel(spinLock);
        KeAcquireSpinLockAtDpcLevel(spinLock);
        Assert.False(KeTestSpinLock(spinLock));
        KeReleaseSpinLockFromDpcLevel(spinLock);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(old);
    });

    [Theory]
    [InlineData(-1)] // the free-running scheduler
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Only_one_thread_at_a_time_is_inside(int seed)
    {
        Strategy = seed < 0 ? null : new SeededStrategy(seed);
        Run(seed < 0 ? Scheduling.FreeRunning : Scheduling.Controlled, () =>
        {
            const int threads = 3, rounds = 300;
            PKSPIN_LOCK spinLock = NewLock();
            PKEVENT over = Event();
            int inside = 0, count = 0, ended = 0;
            for (int t = 0; t < threads; t++)
            {
                Start(() =>
                {
                    for (int i = 0; i < rounds; i++)
                    {
                        KeAcquireSpinLock(spinLock, out KIRQL old);
                        Assert.Equal(1, ++inside);
                        count++;
                        Machine.Scheduler.Yield(Machine.CurrentThread, SchedulingPoint.Call);
                        inside--;
                        KeReleaseSpinLock(spinLock, old);
                    }
                    if (Interlocked.Increment(ref ended) == threads) KeSetEvent(over, 0, false);
                });
            }
            Wait(over);
            Assert.Equal(threads * rounds, count);
        });
    }

    [Fact]
    public void A_lock_that_is_never_released_is_reported_as_a_hang()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PKSPIN_LOCK spinLock = NewLock();
            KeAcquireSpinLock(spinLock, out _);
            PKEVENT never = Event();
            Start(() =>
            {
                KeAcquireSpinLock(spinLock, out _);
                KeSetEvent(never, 0, false);
            });
            KeReleaseSpinLockFromDpcLevel(NewHeldLock());
            KeLowerIrql(PASSIVE_LEVEL);
            Wait(never);
        }));
        Assert.Contains("spins on the lock at", hang.Message, StringComparison.Ordinal);
    }

    PKSPIN_LOCK NewHeldLock()
    {
        PKSPIN_LOCK spinLock = NewLock();
        KeAcquireSpinLockAtDpcLevel(spinLock);
        return spinLock;
    }

    [Fact]
    public void The_exported_routine_returns_the_level_before() => Run(() =>
    {
        PKSPIN_LOCK spinLock = NewLock();
        KeRaiseIrql(APC_LEVEL, out KIRQL passive);
        KIRQL old = KeAcquireSpinLockRaiseToDpc(spinLock);
        Assert.Equal(APC_LEVEL, old);
        Assert.Equal(DISPATCH_LEVEL, KeGetCurrentIrql());
        KeReleaseSpinLock(spinLock, old);
        Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
        KeLowerIrql(passive);
    });
}
