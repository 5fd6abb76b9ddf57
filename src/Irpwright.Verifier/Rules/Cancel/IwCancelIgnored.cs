namespace Irpwright.Verification.Rules;

/// <summary>Drivers that hold IRPs for long let them be cancelled; requestors cannot go before (CANCEL-15).</summary>
sealed class IwCancelIgnored : Rule, IWatchEnd
{
    public static RuleInfo Definition { get; } = new(nameof(IwCancelIgnored), RuleFamily.Cancel, Error,
        Pages.Kernel("points-to-consider-when-canceling-irps"), Codes.Detected(0x135),
        "A request was cancelled, and the driver that has it never completes it.",
        static () => new IwCancelIgnored())
    {
        Covers = ["DV-C4-0x135"],
        Instead = "Set a cancel routine in IRPs that wait for something that may not come, or complete them at IRP_MJ_CLEANUP.",
        Wrong = """
            IoMarkIrpPending(Irp);
            InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
            return STATUS_PENDING;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCsqInsertIrp(&extension->CancelSafeQueue, Irp, NULL);
            return STATUS_PENDING;
            """,
    };

    public void Finished()
    {
        if (Machine.BugChecks.StopReason is not MachineHungException) return;
        foreach (IrpRecord irp in Tracker.Irps)
        {
            if (irp is not { Origin: IrpOrigin.Request, Owner: { Keeps: true } owner } || !irp.Irp.Cancel) continue;
            Report(owner.Place, irp.Name, $"{owner} has {irp}, which was cancelled, and never completes it: its requestor cannot end.");
        }
    }
}
