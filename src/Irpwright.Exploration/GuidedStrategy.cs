using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>
/// The ordinary answers but for some. Which, is said by the thread and how often it has asked, not by the number of the step: so the
/// others keep their meaning when one is left out.
/// </summary>
sealed class GuidedStrategy(IEnumerable<Deviation> deviations, bool movesTimeEarly) : IScheduleStrategy
{
    readonly Dictionary<(int Thread, string? Site, int Occurrence), Deviation> wanted = deviations.ToDictionary(d => (d.Thread, d.Site, d.Occurrence));
    readonly Dictionary<(int Thread, string? Site), int> asked = [];

    public bool MovesTimeEarly => movesTimeEarly;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) =>
        Next(thread.Id, null) is { } deviation ? Math.Max(0, deviation.Actor.IndexIn(choices)) : 0;

    public int Choose(string site, int count) => Next(0, site) is { } deviation && deviation.Answer < count ? deviation.Answer : 0;

    Deviation? Next(int thread, string? site)
    {
        int occurrence = asked.GetValueOrDefault((thread, site));
        asked[(thread, site)] = occurrence + 1;
        return wanted.GetValueOrDefault((thread, site, occurrence));
    }
}

/// <summary>An answer that is not the ordinary one.</summary>
/// <param name="Occurrence">How often the thread, or the site, had asked before.</param>
sealed record Deviation(int Thread, string? Site, int Occurrence, Actor Actor, int Answer, bool IsPreemption)
{
    internal static List<Deviation> Of(Schedule schedule)
    {
        var found = new List<Deviation>();
        var asked = new Dictionary<(int, string?), int>();
        foreach (ScheduleStep step in schedule.Steps)
        {
            int occurrence = asked.GetValueOrDefault((step.Thread, step.Site));
            asked[(step.Thread, step.Site)] = occurrence + 1;
            if (step.Answer != 0) found.Add(new(step.Thread, step.Site, occurrence, step.Actor, step.Answer, step.IsPreemption));
        }
        return found;
    }
}
