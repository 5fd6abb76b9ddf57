using System.Diagnostics;
using Irpwright.Exploration;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Benchmarks;

/// <summary>Exploration: how many schedules of a small scenario a second. Every run has a machine of its own.</summary>
static class Schedules
{
    const int Runs = 500;
    const int Repetitions = 10;

    /// <summary>Runs a second, and scheduling points of a run; the best of several repetitions.</summary>
    public static (double PerSecond, double Steps) Measure(SearchKind search, int threads)
    {
        double best = 0, steps = 0;
        for (int i = 0; i < Repetitions; i++)
        {
            var options = new ExploreOptions { Search = search, Schedules = Runs, Rules = [] };
            long start = Stopwatch.GetTimestamp();
            ExplorationResult result = Explore.Schedules(options, machine => LockedQueue(machine, threads)).Run(null);
            best = Math.Max(best, Runs / Stopwatch.GetElapsedTime(start).TotalSeconds);
            steps = (double)result.Steps / result.Runs;
        }
        return (best, steps);
    }

    // A queue under a lock: one thread puts something in and wakes, the others wait and take.
    static void LockedQueue(Machine machine, int threads)
    {
        PVOID memory = machine.Pool.ExAllocatePoolWithTag(POOL_TYPE.NonPagedPool, 64, 0x636E6542); // "Benc"
        var spinLock = new PKSPIN_LOCK(memory.Address);
        var wake = new PKEVENT(memory.Address + 16);
        machine.SpinLocks.KeInitializeSpinLock(spinLock);
        machine.Dispatcher.KeInitializeEvent(wake, EVENT_TYPE.NotificationEvent, false);
        var bodies = new Action[threads];
        bodies[0] = () =>
        {
            byte irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(spinLock);
            machine.SpinLocks.KeReleaseSpinLock(spinLock, irql);
            machine.Dispatcher.KeSetEvent(wake, IO_NO_INCREMENT, false);
        };
        for (int i = 1; i < threads; i++)
        {
            bodies[i] = () =>
            {
                machine.Dispatcher.KeWaitForSingleObject(wake, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
                byte irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(spinLock);
                machine.SpinLocks.KeReleaseSpinLock(spinLock, irql);
            };
        }
        machine.RunTogether(bodies);
    }
}
