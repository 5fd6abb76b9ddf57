namespace Irpwright.Kernel.Tests;

/// <summary>Anything may come next, by the dice: for tests that must hold in every order.</summary>
sealed class SeededStrategy(int seed) : IScheduleStrategy
{
    readonly Random random = new(seed);

    public bool MovesTimeEarly => false;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) => random.Next(choices.Length);
}
