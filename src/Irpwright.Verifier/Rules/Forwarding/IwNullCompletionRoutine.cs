namespace Irpwright.Verification.Rules;

/// <summary>NULL goes with three times FALSE (REG-10).</summary>
sealed class IwNullCompletionRoutine : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwNullCompletionRoutine), RuleFamily.Forwarding, Error,
        Pages.Ddi("nf-wdm-iosetcompletionroutine"), null,
        "An IRP is sent with a NULL completion routine that is to be invoked.",
        static () => new IwNullCompletionRoutine())
    {
        Instead = "Pass FALSE three times with a NULL routine, or do not call IoSetCompletionRoutine at all.",
        Wrong = """
            IoSetCompletionRoutine(Irp, NULL, NULL, TRUE, TRUE, TRUE);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            IoSetCompletionRoutine(Irp, NULL, NULL, FALSE, FALSE, FALSE);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is { Skipped: true }) return;
        PIO_STACK_LOCATION location = e.Irp.Tail.Overlay.CurrentStackLocation;
        if (!location.CompletionRoutine.IsNull || (location.Control & IrpRecord.Invoke) == 0) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with a NULL completion routine and flags to invoke it: completion will call address 0.");
    }
}
