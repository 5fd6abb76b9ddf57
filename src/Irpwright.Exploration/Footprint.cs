namespace Irpwright.Exploration;

/// <summary>What a step has looked at or changed: two steps without a common part can happen in either order, with the same result.</summary>
sealed class Footprint
{
    /// <summary>Has to do with every other step: something was called whose effects nobody has listed.</summary>
    internal static readonly Footprint Everything = new(null);

    // Sorted.
    readonly ulong[]? parts;

    Footprint(ulong[]? parts) => this.parts = parts;

    internal static Footprint Of(HashSet<ulong> parts)
    {
        ulong[] sorted = [.. parts];
        Array.Sort(sorted);
        return new(sorted);
    }

    internal bool IsEverything => parts is null;

    internal bool IsIndependentOf(Footprint other)
    {
        if (parts is null || other.parts is null) return false;
        for (int i = 0, j = 0; i < parts.Length && j < other.parts.Length;)
        {
            if (parts[i] == other.parts[j]) return false;
            if (parts[i] < other.parts[j]) i++;
            else j++;
        }
        return true;
    }
}
