namespace Irpwright.Verification.Rules;

/// <summary>Devices and interfaces are made in paged memory. IoBuildDeviceIoControlRequest, which the same page allows up to APC_LEVEL, is left to IwCalledAtBadIrql.</summary>
sealed class IrqlIoPassive1() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoAttachDevice", "IoCreateDevice", "IoSetDeviceInterfaceState");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoPassive1), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoPassive1)), Codes.Detected(0x0002000A),
        "IoAttachDevice, IoCreateDevice or IoSetDeviceInterfaceState is called above PASSIVE_LEVEL.",
        static () => new IrqlIoPassive1())
    {
        Instead = "Call it at PASSIVE_LEVEL: in DriverEntry, AddDevice or a PnP dispatch routine, without a lock held.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = IoSetDeviceInterfaceState(&Extension->LinkName, FALSE);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = IoSetDeviceInterfaceState(&Extension->LinkName, FALSE);
            """,
    };
}
