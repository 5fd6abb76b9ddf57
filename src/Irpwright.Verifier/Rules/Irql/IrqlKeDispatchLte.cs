namespace Irpwright.Verification.Rules;

/// <summary>The dispatcher is used at DISPATCH_LEVEL or below.</summary>
sealed class IrqlKeDispatchLte() : IrqlRule(PASSIVE_LEVEL, DISPATCH_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "KeAcquireSpinLockRaiseToDpc", "KeCancelTimer", "KeClearEvent", "KeFlushIoBuffers", "KeInitializeDeviceQueue",
        "KeInitializeSemaphore", "KeInitializeTimer", "KeInitializeTimerEx", "KePulseEvent", "KeRaiseIrqlToDpcLevel",
        "KeReadStateEvent", "KeReadStateTimer", "KeReleaseMutex", "KeRemoveEntryDeviceQueue", "KeResetEvent",
        "KeSaveFloatingPointState", "KeSetTimer", "KeSetTimerEx");

    public static RuleInfo Definition { get; } = new(nameof(IrqlKeDispatchLte), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeDispatchLte)), Codes.Detected(0x00020011),
        "KeAcquireSpinLockRaiseToDpc, KeCancelTimer, KeClearEvent or another of 18 routines is called above DISPATCH_LEVEL.",
        static () => new IrqlKeDispatchLte())
    {
        Covers = ["DV-C4-0x42"],
        Instead = "In an interrupt service routine, queue a DPC and do it there.",
        Wrong = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                KeCancelTimer(&Extension->Watchdog);
            """,
        Right = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                IoRequestDpc(Extension->Device, NULL, NULL); // the DPC cancels the timer
            """,
    };
}
