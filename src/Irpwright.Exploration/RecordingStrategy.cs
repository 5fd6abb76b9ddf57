using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Notes what another strategy answers.</summary>
/// <param name="stepLimit">Ends a run that asks more often: it goes round in circles.</param>
public sealed class RecordingStrategy(IScheduleStrategy inner, int stepLimit = int.MaxValue) : IScheduleStrategy
{
    readonly List<ScheduleStep> steps = [];

    public bool MovesTimeEarly => inner.MovesTimeEarly;

    /// <summary>Whether the run was ended for its length.</summary>
    public bool IsTooLong { get; private set; }

    /// <summary>What has been asked and answered so far.</summary>
    public Schedule Schedule => new([.. steps], MovesTimeEarly);

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices)
    {
        RequireRoom();
        int answer = inner.Choose(thread, point, choices);
        steps.Add(new(point, thread.Id, null, choices.Length, answer)
        {
            Actor = Actor.Of(in choices[answer]),
            IsPreemption = Preempts(point, choices, answer),
        });
        return answer;
    }

    public int Choose(string site, int count)
    {
        RequireRoom();
        int answer = inner.Choose(site, count);
        steps.Add(new(null, 0, site, count, answer));
        return answer;
    }

    /// <summary>Anything but the ordinary choice while the thread could go on, and get anywhere.</summary>
    static bool Preempts(SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices, int answer)
    {
        if (answer == 0 || point == SchedulingPoint.Spin) return false;
        foreach (ref readonly ScheduleChoice choice in choices)
        {
            if (choice.Kind == ScheduleChoiceKind.Continue) return true;
        }
        return false;
    }

    void RequireRoom()
    {
        if (steps.Count < stepLimit) return;
        IsTooLong = true;
        throw new ScheduleException($"The run did not end within {stepLimit} scheduling points.");
    }
}
