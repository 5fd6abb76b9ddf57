namespace Irpwright.Verification.Rules;

/// <summary>With Wait TRUE the routine returns in the middle of a wait, which must be allowed then.</summary>
sealed class IrqlKeSetEvent() : IrqlRule(PASSIVE_LEVEL, DISPATCH_LEVEL, Exports("KeSetEvent"))
{
    public static RuleInfo Definition { get; } = new(nameof(IrqlKeSetEvent), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeSetEvent)), Codes.Detected(0x00020016),
        "KeSetEvent is called above DISPATCH_LEVEL, or with Wait TRUE above APC_LEVEL.",
        static () => new IrqlKeSetEvent())
    {
        Covers = ["DV-C4-0x80"],
        Instead = "Pass FALSE for Wait; from an interrupt service routine, set the event in a DPC.",
        Wrong = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                KeSetEvent(&Extension->Arrived, IO_NO_INCREMENT, FALSE);
            """,
        Right = """
            VOID DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                KeSetEvent(&Extension->Arrived, IO_NO_INCREMENT, FALSE);
            """,
    };

    internal override bool Allows(in DdiCalled e) => e.Irql <= ((byte)e.Arguments[2] != 0 ? APC_LEVEL : DISPATCH_LEVEL);
}
