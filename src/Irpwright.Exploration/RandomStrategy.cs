using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Every choice with the same probability, from a seed; devices and timers may come early.</summary>
/// <param name="seed">The same seed gives the same run on every host.</param>
public sealed class RandomStrategy(ulong seed) : IScheduleStrategy
{
    readonly SplitMix dice = new(seed);
    readonly RandomSites sites = new(seed);

    public bool MovesTimeEarly => true;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) => dice.Below(choices.Length);

    public int Choose(string site, int count) => sites.Answer(site, count);
}
