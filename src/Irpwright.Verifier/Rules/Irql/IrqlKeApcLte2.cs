namespace Irpwright.Verification.Rules;

/// <summary>Regions keep APCs away, which do not come above APC_LEVEL anyway.</summary>
sealed class IrqlKeApcLte2() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "KeAreAllApcsDisabled", "KeAreApcsDisabled", "KeEnterCriticalRegion", "KeLeaveCriticalRegion", "KeEnterGuardedRegion",
        "KeLeaveGuardedRegion", "KeRegisterNmiCallback", "KeDeregisterNmiCallback");

    public static RuleInfo Definition { get; } = new(nameof(IrqlKeApcLte2), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeApcLte2)), Codes.Detected(0x00020010),
        "KeAreAllApcsDisabled, KeAreApcsDisabled, KeEnterCriticalRegion or another of 8 routines is called above APC_LEVEL.",
        static () => new IrqlKeApcLte2())
    {
        Covers = ["DV-C4-0x11A", "DV-C4-0x11B"],
        Instead = "Enter the region before the IRQL is raised and leave it after the IRQL has been lowered.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            KeEnterCriticalRegion();
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeEnterCriticalRegion();
            KeAcquireSpinLock(&Extension->Lock, &irql);
            KeReleaseSpinLock(&Extension->Lock, irql);
            KeLeaveCriticalRegion();
            """,
    };
}
