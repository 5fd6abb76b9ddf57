namespace Irpwright.Verification.Rules;

/// <summary>Threads and processes are made, ended and watched at PASSIVE_LEVEL.</summary>
sealed class IrqlPsPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "PsCreateSystemThread", "PsGetVersion", "PsSetCreateProcessNotifyRoutine", "PsSetCreateThreadNotifyRoutine",
        "PsSetLoadImageNotifyRoutine", "PsTerminateSystemThread");

    public static RuleInfo Definition { get; } = new(nameof(IrqlPsPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlPsPassive)), Codes.Detected(0x0002001C),
        "PsCreateSystemThread, PsGetVersion, PsSetCreateProcessNotifyRoutine or another of 6 routines is called above PASSIVE_LEVEL.",
        static () => new IrqlPsPassive())
    {
        Instead = "Call it at PASSIVE_LEVEL, without a spin lock or fast mutex held.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Worker, Extension);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Worker, Extension);
            """,
    };
}
