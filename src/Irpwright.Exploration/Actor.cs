using System.Runtime.InteropServices;
using Irpwright.Kernel;

namespace Irpwright.Exploration;

/// <summary>Who goes on when a choice is taken, told apart the same way in every run of a scenario.</summary>
/// <param name="Kind">Run for a thread, also for the one at the scheduling point.</param>
/// <param name="Thread">The thread, or the one whose processor it happens on; for an interrupt 0.</param>
/// <param name="Interrupt">Its name.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct Actor(ScheduleChoiceKind Kind, int Thread, string? Interrupt)
{
    internal static Actor Of(in ScheduleChoice choice) => choice.Kind switch
    {
        ScheduleChoiceKind.Interrupt => new(ScheduleChoiceKind.Interrupt, 0, choice.Interrupt!.Name),
        ScheduleChoiceKind.Continue => new(ScheduleChoiceKind.Run, choice.Thread!.Id, null),
        var kind => new(kind, choice.Thread!.Id, null),
    };

    /// <summary>Index of the choice that lets this actor go on; -1 if there is none.</summary>
    internal int IndexIn(ReadOnlySpan<ScheduleChoice> choices)
    {
        for (int i = 0; i < choices.Length; i++)
        {
            if (Of(in choices[i]) == this) return i;
        }
        return -1;
    }

    public override string ToString() => Kind switch
    {
        ScheduleChoiceKind.Interrupt => $"interrupt {Interrupt}",
        ScheduleChoiceKind.Dpc => $"DPC of T{Thread}",
        ScheduleChoiceKind.Timeout => $"timeout of T{Thread}",
        _ => $"T{Thread}",
    };
}
