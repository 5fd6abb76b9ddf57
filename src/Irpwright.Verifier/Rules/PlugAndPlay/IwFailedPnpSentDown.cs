namespace Irpwright.Verification.Rules;

/// <summary>Who fails a PnP IRP completes it (PNP-07).</summary>
sealed class IwFailedPnpSentDown : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwFailedPnpSentDown), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x215),
        "A PnP IRP is sent down with a failure status other than STATUS_NOT_SUPPORTED.",
        static () => new IwFailedPnpSentDown());

    public void On(in IrpForwarded e)
    {
        if (Tracker.Visit.Irp.MajorFunction != IRP_MJ_PNP || Tracker.Owner is null) return;
        NTSTATUS status = e.Irp.IoStatus.Status;
        if (status >= 0 || status == NTSTATUS.STATUS_NOT_SUPPORTED) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} failed {Tracker.Irp} with {status.Name}, and sent it down all the same. Complete it.");
    }
}
