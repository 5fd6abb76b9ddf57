namespace Irpwright.Verification.Rules;

/// <summary>With skip a mark lies in the lower driver's location, which may clear it (PEND-09).</summary>
sealed class IwSkippedAfterMarking : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwSkippedAfterMarking), RuleFamily.Pending, Warning,
        Pages.Ddi("nf-wdm-ioskipcurrentirpstacklocation"), null,
        "A driver marks an IRP pending and forwards it with IoSkipCurrentIrpStackLocation.",
        static () => new IwSkippedAfterMarking());

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Skipped: true, Marked: true } sender) return;
        Report(sender.Place, sender.Irp,
            $"{sender} marked {sender.Irp} pending and then forwarded it with IoSkipCurrentIrpStackLocation, which gives the mark to "
                + "the lower driver. Use IoCopyCurrentIrpStackLocationToNext.");
    }
}
