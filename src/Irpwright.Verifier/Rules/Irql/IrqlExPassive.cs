namespace Irpwright.Verification.Rules;

/// <summary>These routines wait, or use paged memory. ExRaiseStatus, which the same page allows up to APC_LEVEL, is left to IwCalledAtBadIrql.</summary>
sealed class IrqlExPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "ExCreateCallback", "ExIsProcessorFeaturePresent", "ExRaiseAccessViolation", "ExRaiseDatatypeMisalignment",
        "ExUuidCreate");

    public static RuleInfo Definition { get; } = new(nameof(IrqlExPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlExPassive)), Codes.Detected(0x00020008),
        "ExCreateCallback, ExIsProcessorFeaturePresent, ExRaiseAccessViolation or another of 5 routines is called above PASSIVE_LEVEL.",
        static () => new IrqlExPassive())
    {
        Instead = "Call it at PASSIVE_LEVEL, before the lock is acquired, or from a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = ExUuidCreate(&Extension->Id);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            status = ExUuidCreate(&id);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->Id = id;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
    };
}
