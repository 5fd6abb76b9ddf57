namespace Irpwright.Verification.Rules;

/// <summary>An IRP is completed once by each driver that gets it (CMP-02, CMP-16).</summary>
sealed class DoubleCompletion : Rule, IWatch<IrpCompleting>, IWatch<BugCheckRaised>
{
    public static RuleInfo Definition { get; } = new(nameof(DoubleCompletion), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(DoubleCompletion)), new VerifierCode(BugCheckCode.MULTIPLE_IRP_COMPLETE_REQUESTS),
        "A driver calls IoCompleteRequest for an IRP that it completed before and did not get back since.",
        static () => new DoubleCompletion())
    {
        Covers = ["BC-0x44"],
        Instead = "Have exactly one place that completes the IRP, and return right after it.",
        Wrong = """
            if (!NT_SUCCESS(status)) {
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            }
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            Irp->IoStatus.Status = status;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return status;
            """,
    };

    // What the routine has completed is not in its own driver's hands any more.
    Situation IWatch<IrpCompleting>.When => Situation.Elsewhere;

    // The walk was stopped by a driver above, which has the IRP now.
    public void On(in IrpCompleting e)
    {
        if (Tracker.Thread.Frame is not { } running || Tracker.Owner is not { } owner) return;
        if (running.LastCompleted != (Tracker.Irp.Name.Use, Tracker.Irp.Forwards) || Tracker.IsCalledBy(owner.Driver)) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} completed {Tracker.Irp} twice. Since the first time the IRP belongs to {owner}, which took it back with "
                + "STATUS_MORE_PROCESSING_REQUIRED.");
    }

    // Nobody stopped the walk: the packet is recognised as completed.
    public void On(in BugCheckRaised e)
    {
        if (e.Report.Code != BugCheckCode.MULTIPLE_IRP_COMPLETE_REQUESTS) return;
        if (Tracker.Thread.Call.Export != KernelExports.IofCompleteRequest) return;
        if (Tracker.LastCompletion(e.Report.Parameter1) is not var (irp, by)) return;
        Report(Tracker.Caller, irp, $"{Tracker.Caller} completed {irp}, which {by} had completed already.");
    }
}
