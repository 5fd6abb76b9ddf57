namespace Irpwright.Verification.Rules;

/// <summary>With interrupts disabled nothing that a lower driver waits for can happen.</summary>
sealed class IwForwardedWithoutInterrupts : Rule, IWatch<IrpForwarded>, IWatch<FastIoCalled>
{
    public static RuleInfo Definition { get; } = new(nameof(IwForwardedWithoutInterrupts), RuleFamily.Irql, Error,
        Pages.Detected, Codes.Detected(0xC0),
        "IoCallDriver, or a fast I/O routine, is called while the processor's interrupts are disabled.",
        static () => new IwForwardedWithoutInterrupts())
    {
        Covers = ["DV-C4-0xC0", "DV-C4-0xC2"],
        Instead = "Enable interrupts before the kernel is called, and better leave them alone: raise the IRQL or acquire a spin lock.",
        Wrong = """
            _disable();
            Extension->Count++;
            status = IoCallDriver(Extension->LowerDevice, Irp);
            _enable();
            """,
        Right = """
            InterlockedIncrement(&Extension->Count);
            status = IoCallDriver(Extension->LowerDevice, Irp);
            """,
    };

    Situation IWatch<IrpForwarded>.When => Situation.Raised;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Thread.Thread.InterruptsDisabled)
            Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} sent {Tracker.Irp} with interrupts disabled.");
    }

    public void On(in FastIoCalled e)
    {
        if (Tracker.Thread.Thread.InterruptsDisabled)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} had {e.Name} called with interrupts disabled.");
    }
}
