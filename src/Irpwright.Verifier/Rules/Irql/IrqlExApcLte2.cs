namespace Irpwright.Verification.Rules;

/// <summary>These routines use paged pool or user memory.</summary>
sealed class IrqlExApcLte2() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "CmRegisterCallback", "CmRegisterCallbackEx", "CmUnRegisterCallback", "ExAllocateFromPagedLookasideList",
        "ExAllocatePoolWithQuota", "ExAllocatePoolWithQuotaTag", "ExDeletePagedLookasideList", "ExFreeToPagedLookasideList",
        "ExInitializePagedLookasideList", "ExRegisterCallback", "ExSetTimerResolution", "ExUnregisterCallback",
        "ProbeForRead", "ProbeForWrite");

    public static RuleInfo Definition { get; } = new(nameof(IrqlExApcLte2), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlExApcLte2)), Codes.Detected(0x00020006),
        "CmRegisterCallback, CmRegisterCallbackEx, CmUnRegisterCallback or another of 14 routines is called above APC_LEVEL.",
        static () => new IrqlExApcLte2())
    {
        Instead = "Do it at PASSIVE_LEVEL or APC_LEVEL, before the spin lock is acquired; in a DPC, queue a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            ProbeForRead(buffer, length, 1);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            ProbeForRead(buffer, length, 1);
            RtlCopyMemory(&request, buffer, sizeof(request));
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->Request = request;
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
    };
}
