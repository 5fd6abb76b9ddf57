namespace Irpwright.Verification.Rules;

/// <summary>With skip a mark lies in the lower driver's location, which may clear it (PEND-09).</summary>
sealed class IwSkippedAfterMarking : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwSkippedAfterMarking), RuleFamily.Pending, Warning,
        Pages.Ddi("nf-wdm-ioskipcurrentirpstacklocation"), null,
        "A driver marks an IRP pending and forwards it with IoSkipCurrentIrpStackLocation.",
        static () => new IwSkippedAfterMarking())
    {
        Instead = "Copy the location to the next one if the IRP is marked pending; or skip, do not mark, and return what IoCallDriver returned.",
        Wrong = """
            IoMarkIrpPending(Irp);
            IoSkipCurrentIrpStackLocation(Irp);
            IoCallDriver(lower, Irp);
            return STATUS_PENDING;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoCallDriver(lower, Irp);
            return STATUS_PENDING;
            """,
    };

    public Situation When => Situation.Skipped;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Skipped: true, Marked: true } sender) return;
        Report(sender.Place, sender.Irp,
            $"{sender} marked {sender.Irp} pending and then forwarded it with IoSkipCurrentIrpStackLocation, which gives the mark to "
                + "the lower driver. Use IoCopyCurrentIrpStackLocationToNext.");
    }
}
