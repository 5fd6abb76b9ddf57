namespace Irpwright.Verification.Rules;

/// <summary>A device can be started without a thread that waits for it.</summary>
sealed class StartDeviceWait : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(StartDeviceWait), RuleFamily.PlugAndPlay, Advice,
        Pages.Wdm(nameof(StartDeviceWait)), null,
        "A function or filter driver waits in its dispatch routine while it handles IRP_MN_START_DEVICE.",
        static () => new StartDeviceWait())
    {
        Covers = ["StartDeviceWait2", "StartDeviceWait3", "StartDeviceWait4"],
        Instead = "Mark the IRP pending, return STATUS_PENDING, and start the device in a work item that the completion routine queues.",
        Wrong = """
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, SetEvent, &event, TRUE, TRUE, TRUE);
            if (IoCallDriver(lower, Irp) == STATUS_PENDING)
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, QueueStart, DeviceObject, TRUE, TRUE, TRUE);
            IoCallDriver(lower, Irp);
            return STATUS_PENDING;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.KeWaitForSingleObject];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { } visit } || visit.Below.IsNull || !visit.Is(IRP_MJ_PNP, IRP_MN_START_DEVICE)) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} waits while it handles {visit.Irp}, IRP_MN_START_DEVICE.");
    }
}
