using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Gives the answers of a recorded run again, and ends the run where it asks something else.</summary>
public sealed class ReplayStrategy(Schedule schedule) : IScheduleStrategy
{
    int next;

    public bool MovesTimeEarly => schedule.MovesTimeEarly;

    /// <summary>How many questions of the recorded run have come.</summary>
    public int Answered => next;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) =>
        Answer(new(point, thread.Id, null, choices.Length, 0));

    public int Choose(string site, int count) => Answer(new(null, 0, site, count, 0));

    int Answer(in ScheduleStep found)
    {
        int number = next + 1;
        if (next == schedule.Steps.Count) throw new ReplayException($"step {number}: expected the end, found {found.Question}");
        ScheduleStep expected = schedule.Steps[next];
        if (!expected.AsksTheSameAs(in found)) throw new ReplayException($"step {number}: expected {expected.Question}, found {found.Question}");
        if (expected.Count != found.Count)
            throw new ReplayException($"step {number}, {found.Question}: expected {expected.Count} choices, found {found.Count}");
        next++;
        return expected.Answer;
    }

    /// <summary>To be called when the run is over.</summary>
    /// <exception cref="ReplayException">The recorded run went on.</exception>
    public void RequireEnd()
    {
        if (next < schedule.Steps.Count)
            throw new ReplayException($"step {next + 1}: expected {schedule.Steps[next].Question}, found the end");
    }
}

/// <summary>A run is not the recorded one: scenario, drivers or Irpwright have changed, or something is decided by the host.</summary>
public sealed class ReplayException(string message) : ScheduleException(message);
