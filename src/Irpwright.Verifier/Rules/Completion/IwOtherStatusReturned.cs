namespace Irpwright.Verification.Rules;

/// <summary>The returned status and Irp->IoStatus.Status agree (CMP-30).</summary>
sealed class IwOtherStatusReturned : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwOtherStatusReturned), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x224),
        "A dispatch routine returns a final status that differs from the one the IRP was completed with.",
        static () => new IwOtherStatusReturned())
    {
        Covers = ["DV-C9-0x224"],
        Instead = "Keep the status in a variable: set it in the IRP, complete, and return the same.",
        Wrong = """
            Irp->IoStatus.Status = STATUS_END_OF_FILE;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_SUCCESS;
            """,
        Right = """
            Irp->IoStatus.Status = STATUS_END_OF_FILE;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_END_OF_FILE;
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (e.Status == NTSTATUS.STATUS_PENDING || visit.MayHaveMarked || visit.RepeatsAnError(e.Status)) return;
        if (visit.FinalStatus is not { } final || e.Status == final) return;
        // That is LowerDriverReturn's.
        if (!visit.Completed && visit.LowerStatus is { } lower && e.Status != lower) return;
        Report(visit.Place, visit.Irp,
            $"{visit} returned {e.Status.Name} for {visit.Irp}, which was completed with {final.Name}. A driver whose completion "
                + "routine changes the status marks the IRP pending.");
    }
}
