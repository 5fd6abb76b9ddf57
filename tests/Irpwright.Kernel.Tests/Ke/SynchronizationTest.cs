using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ke;

/// <summary>What tests of synchronisation share: objects, threads that are known to wait, and contention in every order.</summary>
public abstract class SynchronizationTest : DriverTest
{
    protected const long Millisecond = 10_000;

    protected NTSTATUS WaitFor(PVOID target, long? timeout = null) => KeWaitForSingleObject(target, Executive, KernelMode, false, timeout);

    protected void Sleep(long milliseconds) => KeDelayExecutionThread(KernelMode, false, -milliseconds * Millisecond);

    protected PKMUTANT Mutex()
    {
        var mutex = new PKMUTANT(Memory(KMUTANT.SizeOf).Address);
        KeInitializeMutex(mutex, 0);
        return mutex;
    }

    protected PKSEMAPHORE Semaphore(int count, int limit = int.MaxValue)
    {
        var semaphore = new PKSEMAPHORE(Memory(KSEMAPHORE.SizeOf).Address);
        KeInitializeSemaphore(semaphore, count, limit);
        return semaphore;
    }

    /// <summary>Returns when the thread waits for dispatcher objects.</summary>
    protected void UntilWaiting(KernelThread thread) => Eventually(() => thread.Wait.IsActive);

    /// <summary>Starts a thread; <see cref="Join"/> waits for the ends of all of these.</summary>
    protected KernelThread Fork(Action body)
    {
        Interlocked.Increment(ref running);
        return Start(() =>
        {
            body();
            Interlocked.Decrement(ref running);
        });
    }

    protected void Join() => Eventually(() => Volatile.Read(ref running) == 0);

    int running;

    /// <summary>The fixed order and some random ones; threads that really run in parallel need no more than one round.</summary>
    public static TheoryData<int> EveryOrder => Here == Scheduling.FreeRunning ? [0] : [0, 1, 2, 3, 4, 5];

    /// <summary>Runs a scenario in one of <see cref="EveryOrder"/>.</summary>
    protected void RunInOrder(int order, Action scenario)
    {
        if (order > 0) Strategy = new SeededStrategy(order);
        Run(scenario);
    }

    /// <summary>Has four threads pass through a section again and again, and fails if two are inside at once.</summary>
    protected void Contend(Action enter, Action leave, int rounds = 20)
    {
        int inside = 0, passed = 0;
        for (int i = 0; i < 4; i++)
        {
            Fork(() =>
            {
                for (int n = 0; n < rounds; n++)
                {
                    enter();
                    Assert.Equal(1, Interlocked.Increment(ref inside));
                    // Lets the others try.
                    KeSetEvent(meeting, 0, false);
                    passed++;
                    Interlocked.Decrement(ref inside);
                    leave();
                }
            });
        }
        Join();
        Assert.Equal(4 * rounds, passed);
    }

    PKEVENT meeting => field.IsNull ? field = Event() : field;

    protected static void Raises(NTSTATUS status, Action action) => Assert.Equal(status, Assert.Throws<NtStatusException>(action).Status);
}
