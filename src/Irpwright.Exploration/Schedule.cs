using System.Runtime.InteropServices;
using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>One question that a run asked, and its answer.</summary>
/// <param name="Point">Why the thread asked who is next; null for a question of <see cref="Choices"/>.</param>
/// <param name="Thread">Id of the thread that asked; 0 for a question of <see cref="Choices"/>.</param>
/// <param name="Site">What a question of <see cref="Choices"/> is about.</param>
/// <param name="Count">How many answers there were.</param>
/// <param name="Answer">Index of the one that was given; 0 is the ordinary one.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct ScheduleStep(SchedulingPoint? Point, int Thread, string? Site, int Count, int Answer)
{
    /// <summary>Who went on; not kept in replay strings.</summary>
    internal Actor Actor { get; init; }

    /// <summary>Whether the thread was interrupted although it could go on; not kept in replay strings.</summary>
    internal bool IsPreemption { get; init; }

    /// <summary>The question in words, for messages.</summary>
    public string Question => Point is { } point ? $"{point} of T{Thread}" : $"the choice '{Site}'";

    internal bool AsksTheSameAs(in ScheduleStep other) => Point == other.Point && Thread == other.Thread && Site == other.Site;
}

/// <summary>All that was open in one run of a scenario, in order: played back, it gives the same run.</summary>
public sealed class Schedule(IReadOnlyList<ScheduleStep> steps, bool movesTimeEarly)
{
    public IReadOnlyList<ScheduleStep> Steps { get; } = steps;

    /// <summary>Whether timers and devices might come early: it decides which choices there are.</summary>
    public bool MovesTimeEarly { get; } = movesTimeEarly;

    /// <summary>How often a thread had to stop although it could go on.</summary>
    public int Preemptions => Steps.Count(step => step.IsPreemption);

    /// <summary>How often the answer was not the ordinary one.</summary>
    public int Deviations => Steps.Count(step => step.Answer != 0);

    /// <summary>Text from which <see cref="Parse"/> makes the schedule again.</summary>
    public override string ToString() => ReplayString.Encode(this);

    /// <summary>Reads what <see cref="ToString"/> wrote.</summary>
    /// <exception cref="FormatException">Says where the text is damaged.</exception>
    public static Schedule Parse(string text) => ReplayString.Decode(text);
}
