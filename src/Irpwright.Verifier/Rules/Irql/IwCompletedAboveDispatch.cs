namespace Irpwright.Verification.Rules;

/// <summary>Completion routines run at the caller's IRQL and expect at most DISPATCH_LEVEL (CMP-01, CMP-27).</summary>
sealed class IwCompletedAboveDispatch : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCompletedAboveDispatch), RuleFamily.Irql, Error,
        Pages.IoVerification, Codes.Io(0xE),
        "IoCompleteRequest is called above DISPATCH_LEVEL.",
        static () => new IwCompletedAboveDispatch())
    {
        Covers = ["DV-C9-0x0E"],
        Instead = "Complete requests in the DPC that the interrupt service routine queues.",
        Wrong = """
            BOOLEAN Isr(PKINTERRUPT Interrupt, PVOID Context)
            {
                IoCompleteRequest(Extension->CurrentIrp, IO_NO_INCREMENT);
            """,
        Right = """
            VOID DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    public Situation When => Situation.Raised;

    public void On(in IrpCompleting e)
    {
        byte irql = Tracker.Thread.Thread.Irql;
        if (irql <= DISPATCH_LEVEL) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} completed {Tracker.Irp} at IRQL {irql}. Above DISPATCH_LEVEL, queue a DPC that completes it.");
    }
}
