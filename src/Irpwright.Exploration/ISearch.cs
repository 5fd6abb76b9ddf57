using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Makes the strategies for one run after the other, and learns from how each went.</summary>
public interface ISearch
{
    /// <summary>The strategy for the next run; null when every run that matters has been made.</summary>
    IScheduleStrategy? Next();

    /// <summary>Called with the machine of the run, before anything runs in it.</summary>
    void Attach(Machine machine)
    {
    }

    /// <summary>The run is over.</summary>
    /// <param name="schedule">Its whole schedule, or what there is of it if it was given up.</param>
    void Ended(Schedule schedule);

    /// <summary>Whether, now that <see cref="Next"/> has returned null, nothing was left out.</summary>
    bool IsExhaustive => false;
}

/// <summary>Runs that only differ in their seed. The first is the ordinary one, from which the others learn how long a run is.</summary>
/// <param name="make">Makes a strategy from a seed and the number of steps with a choice to expect.</param>
/// <param name="shard">Which part of the runs to make, from 0.</param>
public sealed class SeededSearch(ulong seed, Func<ulong, int, IScheduleStrategy> make, int shard = 0, int shards = 1) : ISearch
{
    ulong run;
    int length;

    public IScheduleStrategy? Next()
    {
        ulong index = run++;
        if (index == 0) return new GuidedStrategy([], movesTimeEarly: true);
        return make(new SplitMix(seed + ((index - 1) * (ulong)shards + (ulong)shard) * 0x9E3779B97F4A7C15).Next(), length);
    }

    public void Ended(Schedule schedule) => length = Math.Max(length, schedule.Steps.Count(step => step.Site is null && step.Count > 1));
}
