namespace Irpwright.Verification.Rules;

/// <summary>The registry is paged.</summary>
sealed class IrqlRtlPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "RtlDeleteRegistryValue");

    public static RuleInfo Definition { get; } = new(nameof(IrqlRtlPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlRtlPassive)), Codes.Detected(0x0002001E),
        "RtlDeleteRegistryValue is called above PASSIVE_LEVEL.",
        static () => new IrqlRtlPassive())
    {
        Instead = "Call it after the lock has been released; from a DPC, queue a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = RtlDeleteRegistryValue(RTL_REGISTRY_ABSOLUTE, path, name);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = RtlDeleteRegistryValue(RTL_REGISTRY_ABSOLUTE, path, name);
            """,
    };
}
