namespace Irpwright.Verification.Rules;

/// <summary>While a request is below, the remove lock keeps the device from being removed (RMLOCK-05).</summary>
/// <remarks>
/// For devices whose extension has a remove lock. Which acquisition is for which IRP only the driver knows, so any that is outstanding
/// counts. Requests of removal have rules of their own.
/// </remarks>
sealed class RemoveLockForward : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(RemoveLockForward), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(RemoveLockForward)), null,
        "A driver that uses a remove lock sends an IRP on while nobody holds the lock.",
        static () => new RemoveLockForward())
    {
        Covers =
        [
            "RemoveLockForward2", "RemoveLockForwardDeviceControl", "RemoveLockForwardDeviceControl2",
            "RemoveLockForwardDeviceControlInternal", "RemoveLockForwardDeviceControlInternal2", "RemoveLockForwardRead",
            "RemoveLockForwardRead2", "RemoveLockForwardWrite", "RemoveLockForwardWrite2",
        ],
        Instead = "Acquire the remove lock before IoCallDriver, and release it in the completion routine, or when IoCallDriver has returned if there is none.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(Extension->LowerDevice, Irp);
            """,
        Right = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (!NT_SUCCESS(status)) return Fail(Irp, status);
            IoSkipCurrentIrpStackLocation(Irp);
            status = IoCallDriver(Extension->LowerDevice, Irp);
            IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
            return status;
            """,
    };

    public Situation When => Situation.RemoveLock;

    public void On(in IrpForwarded e)
    {
        if (!IsUnheld(Tracker, out RemoveLockRecord? removeLock)) return;
        if (MinorOfPnp(Tracker) is IRP_MN_REMOVE_DEVICE or IRP_MN_QUERY_REMOVE_DEVICE or IRP_MN_SURPRISE_REMOVAL) return;
        Report(Tracker.Caller, Tracker.Irp.Name, Sentence(Tracker, removeLock!), Tracker.Irp.Name.MajorFunction);
    }

    /// <summary>Whether a device that has a remove lock sends the IRP at hand on while nobody holds it.</summary>
    internal static bool IsUnheld(IrpTracker tracker, out RemoveLockRecord? removeLock)
    {
        removeLock = tracker.Owner is { } sender ? tracker.RemoveLocks.Of(sender.Device) : null;
        return removeLock is { IsRemoved: false, Holds.Count: 0 };
    }

    /// <summary>The minor function of a PnP IRP that the sender got; null of another one.</summary>
    internal static byte? MinorOfPnp(IrpTracker tracker) =>
        tracker.Owner is { Irp.MajorFunction: IRP_MJ_PNP } sender ? sender.MinorFunction : null;

    internal static string Sentence(IrpTracker tracker, RemoveLockRecord removeLock) =>
        $"{tracker.Caller} sent {tracker.Irp} on, but nobody holds {removeLock} of its device, which may be removed meanwhile.";
}
