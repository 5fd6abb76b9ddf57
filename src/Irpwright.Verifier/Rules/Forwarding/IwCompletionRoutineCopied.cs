namespace Irpwright.Verification.Rules;

/// <summary>The routine of the driver above would be called twice (STK-07, STK-10).</summary>
sealed class IwCompletionRoutineCopied : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCompletionRoutineCopied), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x207),
        "A stack location was copied as a whole, so that the completion routine of a driver above stands in the next location too.",
        static () => new IwCompletionRoutineCopied())
    {
        Covers = ["DV-C9-0x207", "CA-28114"],
        Instead = "Use IoCopyCurrentIrpStackLocationToNext, which leaves out the routine, its context and the Control byte.",
        Wrong = """
            *IoGetNextIrpStackLocation(Irp) = *IoGetCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            IoCopyCurrentIrpStackLocationToNext(Irp);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Copied;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Skipped: false } owner || Tracker.Visit.Location != owner.Location - 1) return;
        ref IO_STACK_LOCATION copy = ref e.Irp.Tail.Overlay.CurrentStackLocation.Value;
        ref IO_STACK_LOCATION own = ref Tracker.Irp.LocationAt(owner.Location).Value;
        if ((copy.Control & own.Control & IrpRecord.Invoke) == 0) return;
        if (copy.CompletionRoutine != own.CompletionRoutine || copy.Context != own.Context) return;
        // The same driver may be in the stack twice, and register the same routine each time.
        if (CodePlace.Find(Machine, copy.CompletionRoutine.Address) is not { } driver || driver.Object == owner.Driver) return;
        Report(Tracker.Caller, owner.Irp,
            $"{owner} sent {owner.Irp} with the completion routine of {driver.Name}, a driver above, copied into the next location. "
                + "Use IoCopyCurrentIrpStackLocationToNext.");
    }
}
