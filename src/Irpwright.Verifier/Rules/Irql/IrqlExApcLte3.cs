namespace Irpwright.Verification.Rules;

/// <summary>Resources are waited for.</summary>
sealed class IrqlExApcLte3() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "ExAcquireResourceExclusiveLite", "ExAcquireResourceSharedLite", "ExAcquireSharedStarveExclusive",
        "ExAcquireSharedWaitForExclusive", "ExConvertExclusiveToSharedLite", "ExDeleteResourceLite");

    public static RuleInfo Definition { get; } = new(nameof(IrqlExApcLte3), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlExApcLte3)), Codes.Detected(0x00020007),
        "ExAcquireResourceExclusiveLite, ExAcquireResourceSharedLite, ExAcquireSharedStarveExclusive or another of 6 routines is called above APC_LEVEL.",
        static () => new IrqlExApcLte3())
    {
        Instead = "Use the resource at APC_LEVEL or below; where DPCs need the data too, protect it by a spin lock.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            ExDeleteResourceLite(&Extension->Resource);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            ExDeleteResourceLite(&Extension->Resource);
            """,
    };
}
