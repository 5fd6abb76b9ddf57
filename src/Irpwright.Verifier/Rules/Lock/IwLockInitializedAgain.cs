namespace Irpwright.Verification.Rules;

/// <summary>Initialising frees a lock, whoever holds it.</summary>
sealed class IwLockInitializedAgain : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines =
    [
        KernelExports.KeInitializeSpinLock, KernelExports.KeInitializeEvent, KernelExports.KeInitializeMutex,
        KernelExports.KeInitializeGuardedMutex, KernelExports.ExInitializeResourceLite, KernelExports.ExReinitializeResourceLite,
        KernelExports.ExInitializePushLock,
    ];

    public static RuleInfo Definition { get; } = new(nameof(IwLockInitializedAgain), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0x1005),
        "A lock is initialised while a thread holds it.",
        static () => new IwLockInitializedAgain())
    {
        Covers = ["DV-C4-0x1005"],
        Instead = "Initialise each lock once, before anything can use it.",
        Wrong = """
            NTSTATUS Create(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                KeInitializeSpinLock(&Extension->Lock); // others may be open already
            """,
        Right = """
            NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
            {
                KeInitializeSpinLock(&Extension->Lock);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        ulong address = e.Arguments[0];
        // A fast mutex is initialised by its event.
        if (e.Export == KernelExports.KeInitializeEvent) address -= 0x18;
        foreach (ThreadContext thread in Tracker.Threads)
        {
            if (thread.Find(address) is not { } held) continue;
            if (e.Export == KernelExports.KeInitializeEvent && held.Kind != LockKind.FastMutex) continue;
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} initialised {held} anew, which {thread.Thread} holds.");
        }
    }
}
