namespace Irpwright.Verification.Rules;

/// <summary>After it nobody gets the lock any more: it is for the end of the device (RMLOCK-04).</summary>
sealed class IoReleaseRemoveLockAndWaitOutsideRemoveDevice : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.IoReleaseRemoveLockAndWaitEx];

    public static RuleInfo Definition { get; } = new(nameof(IoReleaseRemoveLockAndWaitOutsideRemoveDevice), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(IoReleaseRemoveLockAndWaitOutsideRemoveDevice)), null,
        "A PnP driver calls IoReleaseRemoveLockAndWait in the dispatch routine of another request than IRP_MN_REMOVE_DEVICE.",
        static () => new IoReleaseRemoveLockAndWaitOutsideRemoveDevice())
    {
        Instead = "Elsewhere call IoReleaseRemoveLock; a device that was surprise-removed gets IRP_MN_REMOVE_DEVICE too.",
        Wrong = """
            case IRP_MN_SURPRISE_REMOVAL:
                IoReleaseRemoveLockAndWait(&Extension->RemoveLock, Irp);
            """,
        Right = """
            case IRP_MN_SURPRISE_REMOVAL:
                IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
                break;
            case IRP_MN_REMOVE_DEVICE:
                IoReleaseRemoveLockAndWait(&Extension->RemoveLock, Irp);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { } own } frame || own.Driver.DriverExtension.AddDevice.IsNull) return;
        if (own is { Irp.MajorFunction: IRP_MJ_PNP, MinorFunction: IRP_MN_REMOVE_DEVICE }) return;
        Report(frame.Place, own.Irp, $"{frame} called IoReleaseRemoveLockAndWait for {own.Irp}: nobody will get the lock any more.");
    }
}
