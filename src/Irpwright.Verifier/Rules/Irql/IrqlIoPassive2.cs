namespace Irpwright.Verification.Rules;

/// <summary>These routines wait, or use paged memory.</summary>
sealed class IrqlIoPassive2() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoCheckShareAccess", "IoConnectInterrupt", "IoCreateController");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoPassive2), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoPassive2)), Codes.Detected(0x0002000B),
        "IoCheckShareAccess, IoConnectInterrupt or IoCreateController is called above PASSIVE_LEVEL.",
        static () => new IrqlIoPassive2())
    {
        Instead = "Call it at PASSIVE_LEVEL; protect share access by a mutex that leaves the IRQL alone.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = IoCheckShareAccess(access, share, file, &Extension->ShareAccess, TRUE);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            ExAcquireFastMutexUnsafe(&Extension->Mutex); // in a critical region
            status = IoCheckShareAccess(access, share, file, &Extension->ShareAccess, TRUE);
            ExReleaseFastMutexUnsafe(&Extension->Mutex);
            """,
    };
}
