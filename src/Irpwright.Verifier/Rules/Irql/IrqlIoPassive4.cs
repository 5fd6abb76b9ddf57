namespace Irpwright.Verification.Rules;

/// <summary>Names are kept in paged memory; interrupts are disconnected with a wait.</summary>
sealed class IrqlIoPassive4() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoCreateFile", "IoCreateNotificationEvent", "IoCreateSymbolicLink", "IoCreateSynchronizationEvent",
        "IoCreateUnprotectedSymbolicLink", "IoDeassignArcName", "IoDeleteController", "IoDeleteSymbolicLink",
        "IoDisconnectInterrupt");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoPassive4), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoPassive4)), Codes.Detected(0x0002000D),
        "IoCreateFile, IoCreateNotificationEvent, IoCreateSymbolicLink or another of 9 routines is called above PASSIVE_LEVEL.",
        static () => new IrqlIoPassive4())
    {
        Instead = "Call it at PASSIVE_LEVEL, after every lock has been released, or from a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            IoDeleteSymbolicLink(&Extension->LinkName);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            IoDeleteSymbolicLink(&Extension->LinkName);
            """,
    };
}
