namespace Irpwright.Verification.Rules;

/// <summary>Dispatch routines run at the caller's IRQL and expect at most DISPATCH_LEVEL (CALL-11).</summary>
sealed class IwForwardedAboveDispatch : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwForwardedAboveDispatch), RuleFamily.Irql, Error,
        Pages.IoVerification, Codes.Io(0x10),
        "IoCallDriver is called above DISPATCH_LEVEL.",
        static () => new IwForwardedAboveDispatch())
    {
        Covers = ["DV-C9-0x10", "DV-C9-0x301"],
        Instead = "Send requests from a DPC or below.",
        Wrong = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                IoCallDriver(Extension->LowerDevice, Extension->NextIrp);
            """,
        Right = """
            VOID DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                IoCallDriver(Extension->LowerDevice, Extension->NextIrp);
            """,
    };

    public Situation When => Situation.Raised;

    public void On(in IrpForwarded e)
    {
        byte irql = Tracker.Thread.Thread.Irql;
        if (irql <= DISPATCH_LEVEL) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} on at IRQL {irql}; IoCallDriver may be called at DISPATCH_LEVEL or below.");
    }
}
