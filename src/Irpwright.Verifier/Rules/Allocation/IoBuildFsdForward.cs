namespace Irpwright.Verification.Rules;

/// <summary>Only a completion routine can take the IRP back and free it (REG-09, BUILD-13).</summary>
sealed class IoBuildFsdForward : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildFsdForward), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoBuildFsdForward)), null,
        "An IRP from IoBuildAsynchronousFsdRequest is sent without a completion routine.",
        static () => new IoBuildFsdForward())
    {
        Instead = "Set a completion routine that frees the IRP and returns STATUS_MORE_PROCESSING_REQUIRED.",
        Wrong = """
            irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
            IoCallDriver(lower, irp);
            """,
        Right = """
            irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
            IoSetCompletionRoutine(irp, FreeOwnIrp, NULL, TRUE, TRUE, TRUE);
            IoCallDriver(lower, irp);
            """,
    };

    public Situation When => Situation.Originator | Situation.Unregistered;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin != IrpOrigin.Asynchronous) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp}, made by IoBuildAsynchronousFsdRequest, without a completion routine: nobody will "
                + "free it.");
    }
}
