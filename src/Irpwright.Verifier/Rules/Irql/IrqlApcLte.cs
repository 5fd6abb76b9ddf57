namespace Irpwright.Verification.Rules;

/// <summary>Security descriptors of objects lie in paged pool.</summary>
sealed class IrqlApcLte() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "ObGetObjectSecurity", "ObReleaseObjectSecurity");

    public static RuleInfo Definition { get; } = new(nameof(IrqlApcLte), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlApcLte)), Codes.Detected(0x00020002),
        "ObGetObjectSecurity or ObReleaseObjectSecurity is called above APC_LEVEL.",
        static () => new IrqlApcLte())
    {
        Instead = "Ask for the security descriptor before the spin lock is acquired, or from a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = ObGetObjectSecurity(Object, &descriptor, &allocated);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = ObGetObjectSecurity(Object, &descriptor, &allocated);
            """,
    };
}
