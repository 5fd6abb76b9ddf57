using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

public class SemaphoreTests : SynchronizationTest
{
    [Fact]
    public void A_new_semaphore_has_its_count_and_limit() => Run(() =>
    {
        PKSEMAPHORE semaphore = Semaphore(2, 5);
        Assert.Equal(SemaphoreObject, semaphore.Header.Type);
        Assert.Equal(KSEMAPHORE.SizeOf / 4, semaphore.Header.Size);
        Assert.Equal(2, KeReadStateSemaphore(semaphore));
        Assert.Equal(5, semaphore.Limit);
    });

    [Fact]
    public void Each_wait_takes_one() => Run(() =>
    {
        PKSEMAPHORE semaphore = Semaphore(2);
        Assert.Equal(STATUS_SUCCESS, WaitFor(semaphore));
        Assert.Equal(STATUS_SUCCESS, WaitFor(semaphore));
        Assert.Equal(STATUS_TIMEOUT, WaitFor(semaphore, 0));
        Assert.Equal(0, KeReleaseSemaphore(semaphore, 0, 1, false));
        Assert.Equal(1, KeReleaseSemaphore(semaphore, 0, 2, false));
        Assert.Equal(3, KeReadStateSemaphore(semaphore));
    });

    [Theory]
    [InlineData(4, 2)]
    [InlineData(4, -1)]
    [InlineData(4, int.MaxValue)]
    public void A_count_beyond_the_limit_raises_and_changes_nothing(int count, int adjustment) => Run(() =>
    {
        PKSEMAPHORE semaphore = Semaphore(count, 5);
        Raises(STATUS_SEMAPHORE_LIMIT_EXCEEDED, () => KeReleaseSemaphore(semaphore, 0, adjustment, false));
        Assert.Equal(count, KeReadStateSemaphore(semaphore));
        Assert.Equal(count, KeReleaseSemaphore(semaphore, 0, 1, false));
    });

    [Fact]
    public void Releasing_wakes_as_many_as_it_adds_with_the_increment() => Run(() =>
    {
        PKSEMAPHORE semaphore = Semaphore(0);
        KernelThread[] waiters = [.. Enumerable.Range(0, 3).Select(_ => Fork(() =>
        {
            WaitFor(semaphore);
            Step("woken");
        }))];
        foreach (KernelThread waiter in waiters) UntilWaiting(waiter);
        Assert.Equal(0, KeReleaseSemaphore(semaphore, 2, 2, false));
        Eventually(() => Steps.Count == 2);
        Assert.Equal(0, KeReadStateSemaphore(semaphore));
        Assert.Equal(2, waiters.Count(w => w.PriorityIncrement == 2));
        Assert.Single(waiters, w => w.Wait.IsActive);
        KeReleaseSemaphore(semaphore, 0, 1, false);
        Join();
    });

    [Theory, MemberData(nameof(EveryOrder))]
    public void Every_unit_released_is_taken_once(int order) => RunInOrder(order, () =>
    {
        const int producers = 2, rounds = 40;
        PKSEMAPHORE semaphore = Semaphore(0, 3);
        int taken = 0, released = 0;
        for (int i = 0; i < producers; i++)
        {
            Fork(() =>
            {
                for (int n = 0; n < rounds;)
                {
                    try
                    {
                        KeReleaseSemaphore(semaphore, 0, 1, false);
                        Interlocked.Increment(ref released);
                        n++;
                    }
                    catch (NtStatusException)
                    {
                        Sleep(1);
                    }
                }
            });
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    WaitFor(semaphore);
                    Interlocked.Increment(ref taken);
                }
            });
        }
        Join();
        Assert.Equal(producers * rounds, released);
        Assert.Equal(released, taken);
        Assert.Equal(0, KeReadStateSemaphore(semaphore));
    });
}
