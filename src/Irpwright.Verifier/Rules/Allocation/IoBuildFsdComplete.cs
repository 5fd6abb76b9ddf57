namespace Irpwright.Verification.Rules;

/// <summary>A driver frees the IRPs that it built; it does not complete them.</summary>
sealed class IoBuildFsdComplete : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildFsdComplete), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoBuildFsdComplete)), null,
        "IoCompleteRequest is called for an IRP from IoBuildAsynchronousFsdRequest that is with its originator.",
        static () => new IoBuildFsdComplete())
    {
        Instead = "Free the IRP with IoFreeIrp; only the drivers that it was sent to complete it.",
        Wrong = """
            irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
            IoCompleteRequest(irp, IO_NO_INCREMENT);
            """,
        Right = """
            irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
            IoFreeIrp(irp);
            """,
    };

    public Situation When => Situation.Originator;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin != IrpOrigin.Asynchronous) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} completed {Tracker.Irp}, which its originator made with IoBuildAsynchronousFsdRequest and no other "
                + "driver has. Free it.");
    }
}
