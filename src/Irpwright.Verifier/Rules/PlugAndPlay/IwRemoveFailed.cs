namespace Irpwright.Verification.Rules;

/// <summary>IRP_MN_REMOVE_DEVICE cannot be failed (PNP-04, PNP-07).</summary>
sealed class IwRemoveFailed : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwRemoveFailed), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x306),
        "A driver completes IRP_MN_REMOVE_DEVICE with a failure status.",
        static () => new IwRemoveFailed());

    public void On(in IrpCompleting e)
    {
        if (e.Status >= 0 || Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_PNP } owner || !Tracker.IsCompletedByDriver) return;
        if (Tracker.Irp.LocationAt(owner.Location).MinorFunction != IRP_MN_REMOVE_DEVICE) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} failed {owner.Irp}, IRP_MN_REMOVE_DEVICE, with {e.Status.Name}: a removal cannot fail.");
    }
}
