namespace Irpwright.Verification.Rules;

/// <summary>These routines synchronise with DPCs and expect that the caller cannot be interrupted by one.</summary>
sealed class IrqlDispatch() : IrqlRule(DISPATCH_LEVEL, DISPATCH_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoAllocateAdapterChannel", "IoAllocateController", "IoFreeController", "IoStartNextPacket",
        "KeAcquireSpinLockAtDpcLevel", "KeInsertByKeyDeviceQueue", "KeInsertDeviceQueue", "KeReleaseSpinLockFromDpcLevel",
        "KeRemoveByKeyDeviceQueue", "KeRemoveDeviceQueue");

    public static RuleInfo Definition { get; } = new(nameof(IrqlDispatch), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlDispatch)), Codes.Detected(0x00020003),
        "IoAllocateAdapterChannel, IoAllocateController, IoFreeController or another of 10 routines is called at another IRQL than DISPATCH_LEVEL.",
        static () => new IrqlDispatch())
    {
        Covers = ["DV-C4-0x40", "DV-C4-0x41"],
        Instead = "Raise the IRQL to DISPATCH_LEVEL first (KeRaiseIrql, or KeAcquireSpinLock in place of KeAcquireSpinLockAtDpcLevel), and lower it afterwards.",
        Wrong = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context)
            {
                KeAcquireSpinLockAtDpcLevel(&Extension->Lock);
            """,
        Right = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context)
            {
                KeAcquireSpinLock(&Extension->Lock, &irql);
            """,
    };
}
