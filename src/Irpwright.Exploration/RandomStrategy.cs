using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Every choice with the same probability, from a seed; devices and timers may come early.</summary>
/// <param name="seed">The same seed gives the same run on every host.</param>
public sealed class RandomStrategy(ulong seed) : IScheduleStrategy
{
    ulong state = seed;

    public bool MovesTimeEarly => true;

    public int Choose(SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) =>
        // The high half of a 64-bit product is uniform enough for a handful of choices, and has no modulo.
        (int)Math.BigMul(Next(), (ulong)choices.Length, out _);

    // SplitMix64, written out so that no runtime version can change a recorded run.
    ulong Next()
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
