namespace Irpwright.Verification.Rules;

/// <summary>Fast mutexes are waited for.</summary>
sealed class IrqlExApcLte1() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "ExAcquireFastMutex", "ExTryToAcquireFastMutex");

    public static RuleInfo Definition { get; } = new(nameof(IrqlExApcLte1), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlExApcLte1)), Codes.Detected(0x00020005),
        "ExAcquireFastMutex or ExTryToAcquireFastMutex is called above APC_LEVEL.",
        static () => new IrqlExApcLte1())
    {
        Covers = ["DV-C4-0x33"],
        Instead = "Acquire the fast mutex before the spin lock, or protect the data by a spin lock alone.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            ExAcquireFastMutex(&Extension->Mutex);
            ExReleaseFastMutex(&Extension->Mutex);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            ExAcquireFastMutex(&Extension->Mutex);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            KeReleaseSpinLock(&Extension->Lock, irql);
            ExReleaseFastMutex(&Extension->Mutex);
            """,
    };
}
