using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class MutexTests : SynchronizationTest
{
    PKMUTANT Mutant(bool owned = false)
    {
        var mutant = new PKMUTANT(Memory(KMUTANT.SizeOf).Address);
        KeInitializeMutant(mutant, owned);
        return mutant;
    }

    [Fact]
    public void A_new_mutex_is_free() => Run(() =>
    {
        PKMUTANT mutex = Mutex();
        Assert.Equal(MutantObject, mutex.Header.Type);
        Assert.Equal(1, KeReadStateMutex(mutex));
        Assert.Equal(1, mutex.ApcDisable);
        Assert.True(mutex.OwnerThread.IsNull);
    });

    [Fact]
    public void Its_owner_may_take_it_again_and_frees_it_with_the_last_release() => Run(() =>
    {
        PKMUTANT mutex = Mutex();
        for (int i = 0; i < 3; i++) Assert.Equal(STATUS_SUCCESS, KeWaitForMutexObject(mutex, Executive, KernelMode, false, null));
        Assert.Equal(-2, KeReadStateMutex(mutex));
        Assert.Equal(Machine.CurrentThread.Object, mutex.OwnerThread);
        NTSTATUS other = Untouched;
        Fork(() => other = WaitFor(mutex, 0));
        Join();
        Assert.Equal(STATUS_TIMEOUT, other);
        Assert.Equal(-2, KeReleaseMutex(mutex, false));
        Assert.Equal(-1, KeReleaseMutex(mutex, false));
        Assert.Equal(0, KeReleaseMutex(mutex, false));
        Assert.Equal(1, KeReadStateMutex(mutex));
        Assert.True(mutex.OwnerThread.IsNull);
    });

    [Fact]
    public void Only_its_owner_may_release_it() => Run(() =>
    {
        PKMUTANT mutex = Mutex();
        Raises(STATUS_MUTANT_NOT_OWNED, () => KeReleaseMutex(mutex, false));
        WaitFor(mutex);
        Fork(() => Raises(STATUS_MUTANT_NOT_OWNED, () => KeReleaseMutex(mutex, false)));
        Join();
        Assert.Equal(0, KeReleaseMutex(mutex, false));
    });

    [Fact]
    public void Taken_at_DISPATCH_LEVEL_it_is_released_there() => Run(() =>
    {
        PKMUTANT mutex = Mutex();
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        Assert.Equal(STATUS_SUCCESS, WaitFor(mutex, 0));
        KeLowerIrql(old);
        Raises(STATUS_MUTANT_NOT_OWNED, () => KeReleaseMutex(mutex, false));
        KeRaiseIrql(DISPATCH_LEVEL, out old);
        Assert.Equal(0, KeReleaseMutex(mutex, false));
        KeLowerIrql(old);
        WaitFor(mutex);
        KeRaiseIrql(DISPATCH_LEVEL, out old);
        Raises(STATUS_MUTANT_NOT_OWNED, () => KeReleaseMutex(mutex, false));
        KeLowerIrql(old);
        KeReleaseMutex(mutex, false);
    });

    [Fact]
    public void Owning_it_more_often_than_can_be_counted_raises() => Run(() =>
    {
        PKMUTANT mutex = Mutex();
        WaitFor(mutex);
        mutex.Header.SignalState = int.MinValue;
        Raises(STATUS_MUTANT_LIMIT_EXCEEDED, () => WaitFor(mutex));
        mutex.Header.SignalState = 0;
        KeReleaseMutex(mutex, false);
    });

    [Fact]
    public void Owning_it_disables_normal_kernel_APCs() => Run(() =>
    {
        PKMUTANT first = Mutex(), second = Mutex();
        Assert.False(KeAreApcsDisabled());
        WaitFor(first);
        WaitFor(first);
        WaitFor(second);
        Assert.True(KeAreApcsDisabled());
        Assert.False(KeAreAllApcsDisabled());
        KeReleaseMutex(second, false);
        KeReleaseMutex(first, false);
        Assert.True(KeAreApcsDisabled());
        KeReleaseMutex(first, false);
        Assert.False(KeAreApcsDisabled());
    });

    [Fact]
    public void A_mutant_that_user_mode_knows_does_not() => Run(() =>
    {
        PKMUTANT mutant = Mutant(owned: true);
        Assert.Equal(Machine.CurrentThread.Object, mutant.OwnerThread);
        Assert.Equal(0, KeReadStateMutex(mutant));
        Assert.False(KeAreApcsDisabled());
        Assert.Equal(0, KeReleaseMutant(mutant, 1, false, false));
    });

    [Fact]
    public void A_thread_that_ends_with_a_mutex_stops_the_machine()
    {
        PKMUTANT mutex = default;
        ulong thread = 0;
        BugCheckReport report = Stops(THREAD_TERMINATE_HELD_MUTEX, () =>
        {
            mutex = Mutex();
            thread = Start(() => WaitFor(mutex)).Object.Address;
            Wait(Event());
        });
        Assert.Equal(thread, report.Parameter1);
        Assert.Equal(mutex.Address, report.Parameter2);
    }

    [Fact]
    public void A_mutant_of_a_thread_that_ended_is_abandoned_to_the_next_owner() => Run(() =>
    {
        PKMUTANT mutant = Mutant();
        NTSTATUS status = Untouched;
        PKEVENT taken = Event(), end = Event();
        Fork(() =>
        {
            WaitFor(mutant);
            WaitFor(mutant);
            KeSetEvent(taken, 0, false);
            Wait(end);
        });
        Wait(taken);
        KernelThread heir = Fork(() =>
        {
            status = WaitFor(mutant);
            Assert.Equal(0, KeReleaseMutant(mutant, 1, false, false));
        });
        UntilWaiting(heir);
        KeSetEvent(end, 0, false);
        Join();
        Assert.Equal(STATUS_ABANDONED, status);
        Assert.Equal(STATUS_SUCCESS, WaitFor(mutant));
        KeReleaseMutant(mutant, 1, false, false);
    });

    [Theory]
    [InlineData(WaitAny, STATUS_ABANDONED_WAIT_0 + 1)]
    [InlineData(WaitAll, STATUS_ABANDONED)]
    public void A_wait_for_several_tells_of_an_abandoned_one(WAIT_TYPE type, NTSTATUS expected) => Run(() =>
    {
        PKMUTANT mutant = Mutant(owned: true);
        Assert.Equal(0, KeReleaseMutant(mutant, 1, Abandoned: true, false));
        PKEVENT other = Event(signalled: type == WaitAll);
        Assert.Equal(expected, KeWaitForMultipleObjects(2, [other, mutant], type, Executive, KernelMode, false, 0, default));
        KeReleaseMutant(mutant, 1, false, false);
    });

    [Fact]
    public void Releasing_what_was_abandoned_raises_STATUS_ABANDONED() => Run(() =>
    {
        PKMUTANT mutant = Mutant(owned: true);
        KeReleaseMutant(mutant, 1, Abandoned: true, false);
        Raises(STATUS_ABANDONED, () => KeReleaseMutant(mutant, 1, false, false));
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void One_thread_at_a_time_owns_it(int order) => RunInOrder(order, () =>
    {
        PKMUTANT mutex = Mutex();
        Contend(() => WaitFor(mutex), () => KeReleaseMutex(mutex, false));
        Assert.Equal(1, KeReadStateMutex(mutex));
    });

    [Fact]
    public void A_hang_names_the_owner()
    {
        PKMUTANT first = default, second = default;
        KernelThread? other = null;
        MachineHungException hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            (first, second) = (Mutex(), Mutex());
            WaitFor(first);
            other = Start(() =>
            {
                WaitFor(second);
                WaitFor(first);
            });
            UntilWaiting(other);
            WaitFor(second);
        }));
        Assert.Contains($"waits for the mutex at {second}, which {other} owns", hang.Message, StringComparison.Ordinal);
        Assert.Contains($"{other} waits for the mutex at {first}, which T", hang.Message, StringComparison.Ordinal);
    }
}
