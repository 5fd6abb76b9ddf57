namespace Irpwright.Verification.Rules;

/// <summary>The cancel routine is taken out before the IRP is sent on (CALL-10).</summary>
sealed class IwForwardedCancelable : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwForwardedCancelable), RuleFamily.Cancel, Error,
        Pages.IoVerification, Codes.Io(0x203),
        "IoCallDriver is called while a cancel routine that the driver set is still in the IRP.",
        static () => new IwForwardedCancelable())
    {
        Covers = ["DV-C9-0x203"],
        Instead = "Take the cancel routine out with IoSetCancelRoutine(Irp, NULL) before sending the IRP on.",
        Wrong = """
            IoSetCancelRoutine(Irp, Cancel);
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            if (IoSetCancelRoutine(Irp, NULL) != NULL) {
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            }
            """,
    };

    public Situation When => Situation.Cancelable;

    public void On(in IrpForwarded e)
    {
        PDRIVER_CANCEL routine = e.Irp.CancelRoutine;
        if (routine.IsNull || (Tracker.Owner is { } owner && routine == owner.InheritedCancelRoutine)) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} on with its own cancel routine still set: the lower driver overwrites it, or it "
                + "cancels what is not its own any more.");
    }
}
