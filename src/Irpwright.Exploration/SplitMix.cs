namespace Irpwright.Exploration;

/// <summary>Numbers from a seed: SplitMix64, written out so that no runtime version can change a recorded run.</summary>
sealed class SplitMix(ulong seed)
{
    ulong state = seed;

    public ulong Next()
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    // The high half of a 64-bit product is uniform enough for a handful of choices, and has no modulo.
    public int Below(int count) => (int)Math.BigMul(Next(), (ulong)count, out _);
}
