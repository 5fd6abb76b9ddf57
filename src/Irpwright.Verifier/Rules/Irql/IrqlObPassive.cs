namespace Irpwright.Verification.Rules;

/// <summary>Handle tables are paged.</summary>
sealed class IrqlObPassive() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "ObReferenceObjectByHandle");

    public static RuleInfo Definition { get; } = new(nameof(IrqlObPassive), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlObPassive)), Codes.Detected(0x0002001B),
        "ObReferenceObjectByHandle is called above PASSIVE_LEVEL.",
        static () => new IrqlObPassive())
    {
        Instead = "Turn the handle into a pointer in the dispatch routine, at PASSIVE_LEVEL, and use the pointer elsewhere.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = ObReferenceObjectByHandle(handle, EVENT_MODIFY_STATE, *ExEventObjectType, UserMode, &event, NULL);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            status = ObReferenceObjectByHandle(handle, EVENT_MODIFY_STATE, *ExEventObjectType, UserMode, &event, NULL);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->Event = event;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
    };
}
