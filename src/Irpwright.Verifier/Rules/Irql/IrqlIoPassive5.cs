namespace Irpwright.Verification.Rules;

/// <summary>What a driver registers once is registered at PASSIVE_LEVEL.</summary>
sealed class IrqlIoPassive5() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoGetConfigurationInformation", "IoGetDeviceObjectPointer", "IoGetDmaAdapter", "IoGetFileObjectGenericMapping",
        "IoInitializeTimer", "IoIsWdmVersionAvailable", "IoRegisterDriverReinitialization", "IoRegisterShutdownNotification",
        "IoUnregisterShutdownNotification", "IoSetShareAccess", "IoRemoveShareAccess", "IoUpdateShareAccess",
        "IoWMIAllocateInstanceIds", "IoWMIRegistrationControl");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoPassive5), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoPassive5)), Codes.Detected(0x0002000E),
        "IoGetConfigurationInformation, IoGetDeviceObjectPointer, IoGetDmaAdapter or another of 14 routines is called above PASSIVE_LEVEL.",
        static () => new IrqlIoPassive5())
    {
        Instead = "Call it at PASSIVE_LEVEL: in DriverEntry, AddDevice, a PnP dispatch routine or a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            IoUnregisterShutdownNotification(DeviceObject);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            IoUnregisterShutdownNotification(DeviceObject);
            """,
    };
}
