namespace Irpwright.Verification.Rules;

/// <summary>Built and associated IRPs cannot be reused (REUSE-03).</summary>
sealed class IoReuseIrp : Rule, IWatch<IrpReused>, IWatch<IrpAllocated>
{
    public static RuleInfo Definition { get; } = new(nameof(IoReuseIrp), RuleFamily.Reuse, Error,
        Pages.Wdm(nameof(IoReuseIrp)), Codes.Io(0x311),
        "IoReuseIrp or IoInitializeIrp is called for an IRP from IoBuildXxx or IoMakeAssociatedIrp.",
        static () => new IoReuseIrp())
    {
        Covers = ["DV-C9-0x311"],
        Instead = "Reuse only IRPs from IoAllocateIrp; build a new one with IoBuildXxx for each request.",
        Wrong = """
            irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
            IoReuseIrp(irp, STATUS_SUCCESS);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoReuseIrp(irp, STATUS_SUCCESS);
            """,
    };

    public void On(in IrpReused e) => Check(Tracker.Irp, "IoReuseIrp");

    public void On(in IrpAllocated e)
    {
        if (e.Origin == IrpOrigin.Initialized && Tracker.Known is { } irp) Check(irp, "IoInitializeIrp");
    }

    void Check(IrpRecord irp, string routine)
    {
        if (irp.Origin is not (IrpOrigin.Threaded or IrpOrigin.Asynchronous or IrpOrigin.Associated)) return;
        Report(Tracker.Caller, irp.Name,
            $"{Tracker.Caller} called {routine} for {irp}, which did not come from IoAllocateIrp: its buffers, thread and event are lost.");
    }
}
