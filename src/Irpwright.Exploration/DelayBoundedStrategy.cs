using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>The ordinary order, except that at a few random points who would be next has to wait for one turn.</summary>
/// <param name="seed">The same seed gives the same run on every host.</param>
/// <param name="delays">How many points.</param>
/// <param name="length">How many steps with more than one choice are expected.</param>
/// <seealso href="https://doi.org/10.1145/1926385.1926432">Emmi, Qadeer and Rakamaric, Delay-bounded scheduling</seealso>
public sealed class DelayBoundedStrategy : IScheduleStrategy
{
    readonly RandomSites sites;
    readonly Dictionary<int, int> delayAt = [];
    int step;

    public DelayBoundedStrategy(ulong seed, int delays, int length)
    {
        var dice = new SplitMix(seed);
        sites = new(seed);
        for (int i = 0; i < delays; i++)
        {
            int at = dice.Below(Math.Max(1, length));
            delayAt[at] = delayAt.GetValueOrDefault(at) + 1;
        }
    }

    public bool MovesTimeEarly => true;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) =>
        choices.Length == 1 ? 0 : delayAt.GetValueOrDefault(step++) % choices.Length;

    public int Choose(string site, int count) => sites.Answer(site, count);
}
