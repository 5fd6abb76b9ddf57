using System.Diagnostics;
using System.Runtime;
using Irpwright.Kernel;

namespace Irpwright.Benchmarks;

/// <summary>Something to measure.</summary>
/// <param name="Machine">Whose guest thread it runs on; null for code outside any machine.</param>
/// <param name="Repeat">Does it that many times.</param>
sealed record Workload(Machine? Machine, Action<int> Repeat);

/// <param name="Nanoseconds">Per execution, from the shortest repetition.</param>
/// <param name="Bytes">Allocated on the managed heap per execution.</param>
readonly record struct Cost(double Nanoseconds, double Bytes);

/// <summary>Measures workloads side by side, so that what else the host does hits them alike.</summary>
static class Paired
{
    const int Repetitions = 25;
    static readonly TimeSpan WarmUp = TimeSpan.FromMilliseconds(400), Quiet = TimeSpan.FromMilliseconds(250), Repetition = TimeSpan.FromMilliseconds(1);

    public static Cost[] Measure(params Workload[] workloads)
    {
        int[] counts = [.. workloads.Select(Prepare)];
        var best = new Cost[workloads.Length];
        Array.Fill(best, new Cost(double.MaxValue, double.MaxValue));
        for (int repetition = 0; repetition < Repetitions; repetition++)
        {
            for (int i = 0; i < workloads.Length; i++)
            {
                (TimeSpan time, long bytes) = Run(workloads[i], counts[i]);
                best[i] = new Cost(Math.Min(best[i].Nanoseconds, time.TotalNanoseconds / counts[i]), Math.Min(best[i].Bytes, (double)bytes / counts[i]));
            }
        }
        return best;
    }

    // Runs until the JIT has had the time to optimise, and has nothing left to do; returns how often makes a repetition.
    static int Prepare(Workload workload)
    {
        var clock = Stopwatch.StartNew();
        int count = 1;
        TimeSpan shortest = TimeSpan.MaxValue;
        long compiled = 0;
        TimeSpan lastCompiled = TimeSpan.Zero;
        while (clock.Elapsed < WarmUp || clock.Elapsed - lastCompiled < Quiet)
        {
            if (compiled != JitInfo.GetCompiledMethodCount()) (compiled, lastCompiled) = (JitInfo.GetCompiledMethodCount(), clock.Elapsed);
            TimeSpan time = Run(workload, count).Time;
            if (time < Repetition) count *= 2;
            else if (time < shortest) shortest = time;
        }
        return shortest == TimeSpan.MaxValue ? count : Math.Max(1, (int)(count * (Repetition / shortest)));
    }

    static (TimeSpan Time, long Bytes) Run(Workload workload, int count) =>
        workload.Machine is { } machine ? machine.Run(() => Time(workload, count)) : Time(workload, count);

    // Once beforehand: a new thread's processor state is not the workload's.
    static (TimeSpan Time, long Bytes) Time(Workload workload, int count)
    {
        workload.Repeat(1);
        long bytes = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        workload.Repeat(count);
        TimeSpan time = Stopwatch.GetElapsedTime(start);
        return (time, GC.GetAllocatedBytesForCurrentThread() - bytes);
    }
}
