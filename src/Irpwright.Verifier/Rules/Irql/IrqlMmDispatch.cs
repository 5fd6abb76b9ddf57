namespace Irpwright.Verification.Rules;

/// <summary>As the page of the rule says; the list of bug checks prints "=" for the same limit.</summary>
sealed class IrqlMmDispatch() : IrqlRule(PASSIVE_LEVEL, DISPATCH_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "MmFreeContiguousMemory");

    public static RuleInfo Definition { get; } = new(nameof(IrqlMmDispatch), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlMmDispatch)), Codes.Detected(0x0002001A),
        "MmFreeContiguousMemory is called above DISPATCH_LEVEL.",
        static () => new IrqlMmDispatch())
    {
        Instead = "Free it from the DPC, or when the device is removed.",
        Wrong = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                MmFreeContiguousMemory(Extension->Buffer);
            """,
        Right = """
            VOID DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                MmFreeContiguousMemory(Extension->Buffer);
            """,
    };
}
