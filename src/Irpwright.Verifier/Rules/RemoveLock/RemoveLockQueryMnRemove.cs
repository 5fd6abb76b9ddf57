namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="RemoveLockForward"/>, for IRP_MN_QUERY_REMOVE_DEVICE.</summary>
sealed class RemoveLockQueryMnRemove : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(RemoveLockQueryMnRemove), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(RemoveLockQueryMnRemove)), null,
        "A driver that uses a remove lock sends IRP_MN_QUERY_REMOVE_DEVICE on while nobody holds the lock.",
        static () => new RemoveLockQueryMnRemove())
    {
        Instead = "Acquire the remove lock before the request is sent on, for every request.",
        Wrong = """
            case IRP_MN_QUERY_REMOVE_DEVICE:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(Extension->LowerDevice, Irp);
            """,
        Right = """
            case IRP_MN_QUERY_REMOVE_DEVICE: // IoAcquireRemoveLock(&Extension->RemoveLock, Irp) has succeeded
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(Extension->LowerDevice, Irp);
                IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
                return status;
            """,
    };

    public Situation When => Situation.RemoveLock | Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (RemoveLockForward.IsUnheld(Tracker, out RemoveLockRecord? removeLock) && RemoveLockForward.MinorOfPnp(Tracker) == IRP_MN_QUERY_REMOVE_DEVICE)
            Report(Tracker.Caller, Tracker.Irp.Name, RemoveLockForward.Sentence(Tracker, removeLock!));
    }
}
