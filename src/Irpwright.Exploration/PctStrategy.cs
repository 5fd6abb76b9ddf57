using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>
/// Probabilistic concurrency testing: everybody has a random priority, the highest goes on, and at a few random points it sinks to the
/// bottom. A bug that needs d orderings is found with probability 1/(n k^(d-1)) at least, n threads, k steps.
/// </summary>
/// <param name="seed">The same seed gives the same run on every host.</param>
/// <param name="depth">d: one more than the number of points at which a priority changes.</param>
/// <param name="length">k: how many steps with more than one choice are expected.</param>
/// <seealso href="https://doi.org/10.1145/1736020.1736040">Burckhardt et al., A randomized scheduler with probabilistic guarantees of finding bugs</seealso>
public sealed class PctStrategy : IScheduleStrategy
{
    readonly SplitMix dice;
    readonly RandomSites sites;
    readonly Dictionary<Actor, long> priorities = [];
    readonly HashSet<int> changePoints = [];
    long lowest;
    int step;

    public PctStrategy(ulong seed, int depth, int length)
    {
        dice = new(seed);
        sites = new(seed);
        for (int i = 1; i < depth; i++) changePoints.Add(dice.Below(Math.Max(1, length)));
    }

    public bool MovesTimeEarly => true;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices)
    {
        if (choices.Length == 1) return 0;
        // Who spins does not get on before somebody else does.
        if (point == SchedulingPoint.Spin) Sink(new(ScheduleChoiceKind.Run, thread.Id, null));
        int best = Highest(choices);
        if (changePoints.Contains(step++))
        {
            Sink(Actor.Of(in choices[best]));
            best = Highest(choices);
        }
        // The next DPC or interrupt is another one, and has luck of its own.
        if (choices[best].Kind is not (ScheduleChoiceKind.Continue or ScheduleChoiceKind.Run)) priorities.Remove(Actor.Of(in choices[best]));
        return best;
    }

    public int Choose(string site, int count) => sites.Answer(site, count);

    int Highest(ReadOnlySpan<ScheduleChoice> choices)
    {
        int best = 0;
        long highest = long.MinValue;
        for (int i = 0; i < choices.Length; i++)
        {
            var actor = Actor.Of(in choices[i]);
            if (!priorities.TryGetValue(actor, out long priority)) priorities[actor] = priority = (long)(dice.Next() >> 1);
            if (priority <= highest) continue;
            highest = priority;
            best = i;
        }
        return best;
    }

    void Sink(Actor actor) => priorities[actor] = --lowest;
}
