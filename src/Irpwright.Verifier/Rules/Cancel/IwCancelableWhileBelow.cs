namespace Irpwright.Verification.Rules;

/// <summary>While a lower driver has the IRP, its cancel routine is the lower driver's (CANCEL-06).</summary>
sealed class IwCancelableWhileBelow : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCancelableWhileBelow), RuleFamily.Cancel, Error,
        Pages.IoVerification, Codes.Io(0x229),
        "A driver sets its cancel routine in an IRP that it has sent to a lower driver.",
        static () => new IwCancelableWhileBelow())
    {
        Covers = ["DV-C9-0x229"],
        Instead = "Set a cancel routine only while the driver itself has the IRP; cancel what was sent down with IoCancelIrp if it is the driver's own.",
        Wrong = """
            status = IoCallDriver(lower, Irp);
            IoSetCancelRoutine(Irp, Cancel);
            return status;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoSetCancelRoutine(Irp, Cancel);    /* and queue it */
            return STATUS_PENDING;
            """,
    };

    public Situation When => Situation.Unfinished;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (!visit.Forwarded || visit.Passed || Tracker.Known is not { Owner: { } owner } irp || owner == visit || owner.Driver == visit.Driver) return;
        PDRIVER_CANCEL routine = irp.Irp.CancelRoutine;
        if (routine.IsNull || routine == visit.InheritedCancelRoutine || routine == owner.InheritedCancelRoutine) return;
        if (CodePlace.Find(Machine, routine.Address) is not { } driver || driver.Object != visit.Driver) return;
        Report(visit.Place, irp.Name, $"{visit} set its cancel routine in {irp}, which {owner} has.");
    }
}
