namespace Irpwright.Verification.Rules;

/// <summary>Each packet that is finished at once would start the next one on top of it.</summary>
sealed class StartIoRecursion : Rule, IWatchCalls, IWatch<StartIoCalled>, IWatch<StartIoReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(StartIoRecursion), RuleFamily.Device, Error,
        Pages.Wdm(nameof(StartIoRecursion)), null,
        "A StartIo routine calls IoStartNextPacket for its device, for which IoSetStartIoAttributes was not called with DeferredStartIo.",
        static () => new StartIoRecursion())
    {
        Instead = "Call IoSetStartIoAttributes(DeviceObject, TRUE, FALSE) when the device is created.",
        Wrong = """
            VOID StartIo(PDEVICE_OBJECT DeviceObject, PIRP Irp) {
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                IoStartNextPacket(DeviceObject, FALSE);
            }
            """,
        Right = """
            IoSetStartIoAttributes(device, TRUE, FALSE);    /* in AddDevice */
            """,
    };

    // DEVOBJ_EXTENSION.StartIoFlags.
    const uint Deferred = 0x08;

    readonly List<(int Thread, ulong Device)> running = [];

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoStartNextPacket, KernelExports.IoStartNextPacketByKey];

    public void On(in StartIoCalled e) => running.Add((Tracker.Thread.Thread.Id, e.DeviceObject.Address));

    public void On(in StartIoReturned e)
    {
        int index = running.LastIndexOf((Tracker.Thread.Thread.Id, e.DeviceObject.Address));
        if (index >= 0) running.RemoveAt(index);
    }

    public void Called(in DdiCalled e)
    {
        if (!running.Contains((Tracker.Thread.Thread.Id, e.Arguments[0]))) return;
        if ((new PDEVICE_OBJECT(e.Arguments[0]).DeviceObjectExtension.StartIoFlags & Deferred) != 0) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called {e.Export.SourceName} in StartIo, which is not deferred for this device: StartIo recurs for each packet that waits.");
    }
}
