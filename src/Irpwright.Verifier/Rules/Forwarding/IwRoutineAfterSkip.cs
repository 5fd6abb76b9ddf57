namespace Irpwright.Verification.Rules;

/// <summary>After a skip the next location is the driver's own, in which the routine of the driver above stands (STK-08, REG-06).</summary>
sealed class IwRoutineAfterSkip : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwRoutineAfterSkip), RuleFamily.Forwarding, Error,
        Pages.Ddi("nf-wdm-ioskipcurrentirpstacklocation"), null,
        "A driver skips its stack location and registers a completion routine, which replaces that of the driver above.",
        static () => new IwRoutineAfterSkip())
    {
        Instead = "Copy the location to the next one if a completion routine is needed.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            IoSetCompletionRoutine(Irp, Done, NULL, TRUE, TRUE, TRUE);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, Done, NULL, TRUE, TRUE, TRUE);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Skipped;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Skipped: true } owner || e.Irp.CurrentLocation != owner.Location) return;
        PIO_STACK_LOCATION location = e.Irp.Tail.Overlay.CurrentStackLocation;
        if (location.CompletionRoutine == owner.EntryRoutine || (location.Control & IrpRecord.Invoke) == 0) return;
        Report(Tracker.Caller, owner.Irp, owner.EntryRoutine.IsNull
            ? $"{owner} registered a completion routine in {owner.Irp} after it had skipped its location: it is called as if the driver above had."
            : $"{owner} registered a completion routine in {owner.Irp} after it had skipped its location: that of the driver above is lost.");
    }
}
