namespace Irpwright.Verification.Rules;

/// <summary>Who only forwards returns what the lower driver returned (IMP-05, CMP-30).</summary>
sealed class LowerDriverReturn : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(LowerDriverReturn), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(LowerDriverReturn)), Codes.Io(0x224),
        "A dispatch routine sends the IRP on, does not complete it itself, and returns another status than IoCallDriver did.",
        static () => new LowerDriverReturn())
    {
        Instead = "Return what IoCallDriver returned, or mark the IRP pending before sending it.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            IoCallDriver(lower, Irp);
            return STATUS_SUCCESS;
            """,
        Right = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (visit.MayHaveMarked || visit.Completed || visit.LowerStatus is not { } lower || e.Status == lower) return;
        Report(visit.Place, visit.Irp,
            $"{visit} sent {visit.Irp} down and returned {e.Status.Name}, but IoCallDriver had returned {lower.Name}. Return that, or "
                + "mark the IRP pending before sending it.");
    }
}
