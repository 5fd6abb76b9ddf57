namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="RemoveLockForward"/>, for IRP_MN_SURPRISE_REMOVAL.</summary>
sealed class RemoveLockMnSurpriseRemove : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(RemoveLockMnSurpriseRemove), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(RemoveLockMnSurpriseRemove)), null,
        "A driver that uses a remove lock sends IRP_MN_SURPRISE_REMOVAL on while nobody holds the lock.",
        static () => new RemoveLockMnSurpriseRemove())
    {
        Instead = "Acquire the remove lock before the request is sent on, for every request.",
        Wrong = """
            case IRP_MN_SURPRISE_REMOVAL:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(Extension->LowerDevice, Irp);
            """,
        Right = """
            case IRP_MN_SURPRISE_REMOVAL: // IoAcquireRemoveLock(&Extension->RemoveLock, Irp) has succeeded
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(Extension->LowerDevice, Irp);
                IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
                return status;
            """,
    };

    public Situation When => Situation.RemoveLock | Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (RemoveLockForward.IsUnheld(Tracker, out RemoveLockRecord? removeLock) && RemoveLockForward.MinorOfPnp(Tracker) == IRP_MN_SURPRISE_REMOVAL)
            Report(Tracker.Caller, Tracker.Irp.Name, RemoveLockForward.Sentence(Tracker, removeLock!));
    }
}
