namespace Irpwright.Verification.Rules;

/// <summary>The device tree and the registry are used at PASSIVE_LEVEL.</summary>
sealed class IrqlIoPassive3() : IrqlRule(PASSIVE_LEVEL, PASSIVE_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoDetachDevice", "IoAssignArcName", "IoRegisterDeviceInterface");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoPassive3), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoPassive3)), Codes.Detected(0x0002000C),
        "IoDetachDevice, IoAssignArcName or IoRegisterDeviceInterface is called above PASSIVE_LEVEL.",
        static () => new IrqlIoPassive3())
    {
        Instead = "Call it at PASSIVE_LEVEL, after every lock has been released.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            IoDetachDevice(Extension->LowerDevice);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->IsClosing = TRUE;
            KeReleaseSpinLock(&Extension->Lock, irql);
            IoDetachDevice(Extension->LowerDevice);
            """,
    };
}
