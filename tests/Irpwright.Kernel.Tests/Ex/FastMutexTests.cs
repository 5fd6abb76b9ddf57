using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class FastMutexTests : SynchronizationTest
{
    PFAST_MUTEX Fast()
    {
        var mutex = new PFAST_MUTEX(Memory(FAST_MUTEX.SizeOf).Address);
        ExInitializeFastMutex(mutex);
        return mutex;
    }

    PKGUARDED_MUTEX Guarded()
    {
        var mutex = new PKGUARDED_MUTEX(Memory(KGUARDED_MUTEX.SizeOf).Address);
        KeInitializeGuardedMutex(mutex);
        return mutex;
    }

    [Fact]
    public void A_new_fast_mutex_is_what_the_inline_code_of_drivers_makes() => Run(() =>
    {
        PFAST_MUTEX mutex = Fast();
        Assert.Equal(1, mutex.Count);
        Assert.True(mutex.Owner.IsNull);
        Assert.Equal(0u, mutex.Contention);
        Assert.Equal(EventSynchronizationObject, mutex.Event.Header.Type);
    });

    [Fact]
    public void Owning_a_fast_mutex_means_APC_LEVEL() => Run(() =>
    {
        PFAST_MUTEX mutex = Fast();
        ExAcquireFastMutex(mutex);
        Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
        Assert.Equal(Machine.CurrentThread.Object.Address, mutex.Owner.Address);
        bool? acquired = null;
        byte irql = 0xFF;
        Fork(() =>
        {
            acquired = ExTryToAcquireFastMutex(mutex);
            irql = KeGetCurrentIrql();
        });
        Eventually(() => irql != 0xFF);
        Assert.False(acquired);
        Assert.Equal(PASSIVE_LEVEL, irql);
        ExReleaseFastMutex(mutex);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        Assert.True(ExTryToAcquireFastMutex(mutex));
        Assert.Equal(APC_LEVEL, KeGetCurrentIrql());
        ExReleaseFastMutex(mutex);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
    });

    [Fact]
    public void Owning_a_guarded_mutex_means_a_guarded_region() => Run(() =>
    {
        PKGUARDED_MUTEX mutex = Guarded();
        KeAcquireGuardedMutex(mutex);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        Assert.True(KeAreAllApcsDisabled());
        bool? acquired = null, disabled = null;
        Fork(() =>
        {
            acquired = KeTryToAcquireGuardedMutex(mutex);
            disabled = KeAreAllApcsDisabled();
        });
        Join();
        Assert.False(acquired);
        Assert.False(disabled);
        KeReleaseGuardedMutex(mutex);
        Assert.False(KeAreAllApcsDisabled());
        Assert.True(KeTryToAcquireGuardedMutex(mutex));
        Assert.True(KeAreAllApcsDisabled());
        KeReleaseGuardedMutex(mutex);
    });

    [Fact]
    public void The_unsafe_forms_leave_level_and_regions_to_their_caller() => Run(() =>
    {
        PFAST_MUTEX fast = Fast();
        PKGUARDED_MUTEX guarded = Guarded();
        KeEnterCriticalRegion();
        ExAcquireFastMutexUnsafe(fast);
        KeAcquireGuardedMutexUnsafe(guarded);
        Assert.Equal(PASSIVE_LEVEL, KeGetCurrentIrql());
        Assert.False(KeAreAllApcsDisabled());
        Assert.Equal((0, 0), (fast.Count, guarded.Count));
        KeReleaseGuardedMutexUnsafe(guarded);
        ExReleaseFastMutexUnsafe(fast);
        Assert.Equal((1, 1), (fast.Count, guarded.Count));
        KeLeaveCriticalRegion();
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void One_thread_at_a_time_owns_a_fast_mutex(int order) => RunInOrder(order, () =>
    {
        PFAST_MUTEX mutex = Fast();
        Contend(() => ExAcquireFastMutex(mutex), () => ExReleaseFastMutex(mutex));
        Assert.Equal(1, mutex.Count);
        if (order > 0) Assert.NotEqual(0u, mutex.Contention);
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void One_thread_at_a_time_owns_a_guarded_mutex(int order) => RunInOrder(order, () =>
    {
        PKGUARDED_MUTEX mutex = Guarded();
        Contend(() => KeAcquireGuardedMutex(mutex), () => KeReleaseGuardedMutex(mutex));
        Assert.Equal(1, mutex.Count);
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Releasing_what_another_thread_owns_stops_the_machine(bool guarded)
    {
        ulong mutex = 0;
        BugCheckReport report = Stops(KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE, () =>
        {
            if (guarded)
            {
                mutex = Guarded().Address;
                Fork(() => KeAcquireGuardedMutexUnsafe(new PKGUARDED_MUTEX(mutex)));
                Join();
                KeReleaseGuardedMutexUnsafe(new PKGUARDED_MUTEX(mutex));
            }
            else
            {
                mutex = Fast().Address;
                ExReleaseFastMutexUnsafe(new PFAST_MUTEX(mutex));
            }
        });
        Assert.Equal(mutex, report.Parameter2);
    }

    [Fact]
    public void Acquiring_it_again_is_reported_as_a_hang()
    {
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            PFAST_MUTEX mutex = Fast();
            ExAcquireFastMutex(mutex);
            ExAcquireFastMutex(mutex);
        }));
        Assert.Contains("which it owns already", hang.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_hang_names_mutexes_and_owners()
    {
        PFAST_MUTEX first = default;
        PKGUARDED_MUTEX second = default;
        KernelThread? other = null;
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            (first, second) = (Fast(), Guarded());
            ExAcquireFastMutex(first);
            other = Start(() =>
            {
                KeAcquireGuardedMutex(second);
                ExAcquireFastMutex(first);
            });
            // It waits with its level raised, so this thread has to let it run without sleeping.
            while (!other.Wait.IsActive) KeWaitForSingleObject(Event(), Executive, KernelMode, false, -Millisecond);
            KeAcquireGuardedMutex(second);
        }));
        Assert.Contains($"waits for the guarded mutex at {second}, which {other} owns", hang.Message, StringComparison.Ordinal);
        Assert.Contains($"{other} waits for the fast mutex at {first}, which T", hang.Message, StringComparison.Ordinal);
    }
}
