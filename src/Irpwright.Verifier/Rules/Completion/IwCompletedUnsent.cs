namespace Irpwright.Verification.Rules;

/// <summary>An IRP that nobody got need not be completed.</summary>
sealed class IwCompletedUnsent : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCompletedUnsent), RuleFamily.Completion, Advice,
        Pages.IoVerification, Codes.Io(0x239),
        "A driver completes an IRP of IoBuildXxx or IoMakeAssociatedIrp that it never sent.",
        static () => new IwCompletedUnsent())
    {
        Covers = ["DV-C9-0x239"],
        Instead = "Send the IRP, or build it only when it is sure to be sent.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoCompleteRequest(irp, IO_NO_INCREMENT);
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoCallDriver(lower, irp);
            """,
    };

    public Situation When => Situation.Originator;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not null || Tracker.Irp is not { Origin: IrpOrigin.Threaded or IrpOrigin.Associated, Forwards: 0 }) return;
        Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} completed {Tracker.Irp}, which it made and never sent.");
    }
}
