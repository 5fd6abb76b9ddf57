namespace Irpwright.Verification.Rules;

/// <summary>These routines use paged memory, or wait.</summary>
sealed class IrqlIoApcLte() : IrqlRule(PASSIVE_LEVEL, APC_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoDeleteDevice", "IoGetInitialStack", "IoRaiseHardError", "IoRaiseInformationalHardError");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoApcLte), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoApcLte)), Codes.Detected(0x00020009),
        "IoDeleteDevice, IoGetInitialStack, IoRaiseHardError or another of 4 routines is called above APC_LEVEL.",
        static () => new IrqlIoApcLte())
    {
        Instead = "Call it at APC_LEVEL or below: from the removal or unload routine, after every lock has been released.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            IoDeleteDevice(DeviceObject);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            IoDeleteDevice(DeviceObject);
            """,
    };
}
