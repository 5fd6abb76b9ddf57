namespace Irpwright.Kernel;

/// <summary>
/// Decides what is open in a run besides the order of events: whether a fault happens, which answer a device gives. The machine's
/// strategy answers, so that a run can be searched, recorded and replayed as a whole.
/// </summary>
/// <remarks>A machine without a strategy (guest threads in parallel) gets the ordinary answer each time.</remarks>
public sealed class Choices
{
    readonly Machine machine;

    internal Choices(Machine machine) => this.machine = machine;

    /// <summary>Whether something out of the ordinary happens now.</summary>
    /// <param name="site">Names it, the same in every run: <c>ExAllocatePool2 fails</c>.</param>
    public bool Choose(string site) => Choose(site, 2) != 0;

    /// <summary>A number from 0 to <paramref name="count"/> - 1; 0 is what happens ordinarily.</summary>
    /// <inheritdoc cref="Choose(string)"/>
    /// <exception cref="ScheduleException">The strategy ends the run.</exception>
    public int Choose(string site, int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        if (count == 1 || machine.Options.Strategy is not { } strategy) return 0;
        try
        {
            int answer = strategy.Choose(site, count);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)answer, (uint)count, nameof(answer));
            return answer;
        }
        catch (ScheduleException e)
        {
            throw machine.BugChecks.StopSchedule(e);
        }
    }
}
