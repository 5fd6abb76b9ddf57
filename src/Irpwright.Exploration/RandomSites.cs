namespace Irpwright.Exploration;

/// <summary>
/// Random answers to what is not about order. In each run half of the sites always give the ordinary answer, and the others three
/// times out of four: otherwise nothing would ever work well enough for a second fault to meet it.
/// </summary>
sealed class RandomSites(ulong seed)
{
    const int OneIn = 4;

    readonly SplitMix dice = new(~seed);
    readonly Dictionary<string, bool> active = [];

    public int Answer(string site, int count)
    {
        if (!active.TryGetValue(site, out bool isActive)) active[site] = isActive = dice.Below(2) == 1;
        return isActive && dice.Below(OneIn) == 0 ? 1 + dice.Below(count - 1) : 0;
    }
}
