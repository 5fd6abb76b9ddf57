namespace Irpwright.Verification.Rules;

/// <summary>These routines are not for interrupt service routines.</summary>
sealed class IrqlIoDispatch() : IrqlRule(PASSIVE_LEVEL, DISPATCH_LEVEL, Routines)
{
    static readonly IReadOnlyList<KernelExport> Routines = Exports(
        "IoGetDeviceToVerify", "IoSetDeviceToVerify");

    public static RuleInfo Definition { get; } = new(nameof(IrqlIoDispatch), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlIoDispatch)), Codes.Detected(0x00020022),
        "IoGetDeviceToVerify or IoSetDeviceToVerify is called above DISPATCH_LEVEL.",
        static () => new IrqlIoDispatch())
    {
        Instead = "Call it from the DPC.",
        Wrong = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                IoSetDeviceToVerify(thread, DeviceObject);
            """,
        Right = """
            VOID DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                IoSetDeviceToVerify(Irp->Tail.Overlay.Thread, DeviceObject);
            """,
    };
}
