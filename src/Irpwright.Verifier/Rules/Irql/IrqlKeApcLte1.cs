namespace Irpwright.Verification.Rules;

/// <summary>Guarded mutexes and delays are waits.</summary>
sealed class IrqlKeApcLte1() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "KeAcquireGuardedMutex", "KeAcquireGuardedMutexUnsafe", "KeReleaseGuardedMutex", "KeReleaseGuardedMutexUnsafe",
        "KeTryToAcquireGuardedMutex", "KeDelayExecutionThread", "KeQueryActiveProcessors");

    public static RuleInfo Definition { get; } = new(nameof(IrqlKeApcLte1), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeApcLte1)), Codes.Detected(0x0002000F),
        "KeAcquireGuardedMutex, KeAcquireGuardedMutexUnsafe, KeReleaseGuardedMutex or another of 7 routines is called above APC_LEVEL.",
        static () => new IrqlKeApcLte1())
    {
        Instead = "Wait at APC_LEVEL or below; where a DPC has to go on later, set a timer.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            KeDelayExecutionThread(KernelMode, FALSE, &interval);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            KeDelayExecutionThread(KernelMode, FALSE, &interval);
            """,
    };
}
