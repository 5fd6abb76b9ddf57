namespace Irpwright.Verification;

/// <summary>A rule was broken.</summary>
/// <param name="Sentence">What was wrong, naming driver, routine and IRP.</param>
/// <param name="Irp">Address of the IRP; 0 where none is concerned.</param>
/// <param name="Driver">The driver that did it; null when that cannot be told.</param>
/// <param name="Routine">Address of its routine, or of the code that called the kernel; 0 when not known.</param>
/// <param name="Symbol">The same in words, such as <c>passthrough!PassDone</c>.</param>
/// <param name="Thread">The thread that ran it.</param>
/// <param name="Irql">The thread's IRQL.</param>
/// <param name="Step">Which of the events that the verifier has seen; the only time there is.</param>
public sealed record Violation(
    RuleInfo Rule, string Sentence, ulong Irp, string? Driver, ulong Routine, string? Symbol, string Thread, byte Irql, long Step)
{
    /// <summary>How often it happened at this place.</summary>
    public int Occurrences { get; internal set; } = 1;

    public override string ToString() => $"{Rule.Name}: {Sentence}";
}
