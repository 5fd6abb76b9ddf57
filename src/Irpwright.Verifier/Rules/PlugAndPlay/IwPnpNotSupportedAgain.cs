namespace Irpwright.Verification.Rules;

/// <summary>STATUS_NOT_SUPPORTED says that nobody has handled the IRP; a driver leaves other statuses alone (PNP-07).</summary>
sealed class IwPnpNotSupportedAgain : Rule, IWatch<IrpCompleting>, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPnpNotSupportedAgain), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x216),
        "A driver sets the status of a PnP IRP, which a driver above had handled, to STATUS_NOT_SUPPORTED.",
        static () => new IwPnpNotSupportedAgain());

    public void On(in IrpCompleting e)
    {
        if (Tracker.IsCompletedByDriver) Check(e.Status);
    }

    public void On(in IrpForwarded e) => Check(e.Irp.IoStatus.Status);

    void Check(NTSTATUS status)
    {
        if (Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_PNP } owner || status != NTSTATUS.STATUS_NOT_SUPPORTED) return;
        if (owner.LowerStatus is not null || owner.EntryStatus == status) return;
        Report(Tracker.Caller, owner.Irp,
            $"{Tracker.Caller} changed the status of {owner.Irp} from {owner.EntryStatus.Name} to STATUS_NOT_SUPPORTED, which means "
                + "that nobody handled it.");
    }
}
