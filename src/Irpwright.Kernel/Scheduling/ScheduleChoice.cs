namespace Irpwright.Kernel;

public enum ScheduleChoiceKind : byte
{
    /// <summary>The thread at the scheduling point goes on.</summary>
    Continue,
    /// <summary>Another thread runs.</summary>
    Run,
    /// <summary>The next DPC in the queue of a thread's processor runs.</summary>
    Dpc,
    /// <summary>A timer or device interrupts; if it lies in the future, time moves to it.</summary>
    Interrupt,
    /// <summary>Time moves to a thread's wait deadline.</summary>
    Timeout,
}

/// <summary>One thing that could happen next.</summary>
public readonly record struct ScheduleChoice(ScheduleChoiceKind Kind, KernelThread? Thread, Interrupt? Interrupt)
{
    public override string ToString() => Interrupt is { } i ? $"{Kind} {i.Name}" : $"{Kind} {Thread}";
}

/// <summary>
/// Answers every question whose answer is not determined. Given the same questions it must give the same answers: a run is its
/// scenario and these answers.
/// </summary>
public interface IScheduleStrategy
{
    /// <summary>
    /// Whether an event of the future (the next timer or device interrupt) may be chosen while threads can still run.
    /// </summary>
    bool MovesTimeEarly { get; }

    /// <summary>What happens next: index of the choice to take.</summary>
    /// <param name="thread">The thread at the scheduling point; it asks.</param>
    /// <param name="choices">
    /// At least one, in the order that Windows on one processor would prefer: DPCs, interrupts that are due, the current
    /// thread, other threads by how long they are ready, then what time would bring next. A thread that spins comes last.
    /// </param>
    /// <exception cref="ScheduleException">Ends the run.</exception>
    int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices);

    /// <summary>An answer below <paramref name="count"/> to a question of <see cref="Choices"/>; 0 is the ordinary one.</summary>
    /// <param name="site">What the question is about, such as a fault that may happen.</param>
    /// <inheritdoc cref="Choose(KernelThread, SchedulingPoint, ReadOnlySpan{ScheduleChoice})" path="/exception"/>
    int Choose(string site, int count) => 0;
}

/// <summary>A strategy ends the run: it cannot go on as it was recorded, or is not worth going on with.</summary>
public class ScheduleException(string message) : Exception(message);

/// <summary>Always the first choice: DPCs and interrupts at once, threads in order, time moves when nobody can run.</summary>
public sealed class FifoStrategy : IScheduleStrategy
{
    public bool MovesTimeEarly => false;

    public int Choose(KernelThread thread, SchedulingPoint point, ReadOnlySpan<ScheduleChoice> choices) => 0;
}
