namespace Irpwright.Verification.Rules;

/// <summary>Who still uses the device is waited for before it leaves its stack (RMLOCK-06).</summary>
sealed class RemoveLockMnRemove : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.IoDetachDevice, KernelExports.IoDeleteDevice];

    public static RuleInfo Definition { get; } = new(nameof(RemoveLockMnRemove), RuleFamily.RemoveLock, Error,
        Pages.Wdm(nameof(RemoveLockMnRemove)), null,
        "A driver that uses a remove lock handles IRP_MN_REMOVE_DEVICE and detaches or deletes its device before IoReleaseRemoveLockAndWait.",
        static () => new RemoveLockMnRemove())
    {
        Covers = ["RemoveLockCheck"],
        Instead = "Acquire the lock at the beginning of IRP_MN_REMOVE_DEVICE, send the IRP on, call IoReleaseRemoveLockAndWait, then detach and delete.",
        Wrong = """
            status = IoCallDriver(Extension->LowerDevice, Irp);
            IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
            IoDetachDevice(Extension->LowerDevice);
            IoDeleteDevice(DeviceObject);
            """,
        Right = """
            status = IoCallDriver(Extension->LowerDevice, Irp);
            IoReleaseRemoveLockAndWait(&Extension->RemoveLock, Irp);
            IoDetachDevice(Extension->LowerDevice);
            IoDeleteDevice(DeviceObject);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { Forwarded: true, Irp.MajorFunction: IRP_MJ_PNP } own } frame) return;
        if (own.MinorFunction != IRP_MN_REMOVE_DEVICE || Tracker.RemoveLocks.Of(own.Device) is not { IsRemoved: false } removeLock) return;
        bool deletes = e.Export == KernelExports.IoDeleteDevice;
        // A bus driver also deletes the devices of its children.
        if (deletes && e.Arguments[0] != own.Device.Address) return;
        Report(frame.Place, own.Irp,
            $"{frame} called {e.Export.SourceName} for its device before IoReleaseRemoveLockAndWait: {removeLock} lets others use it still.");
    }
}
