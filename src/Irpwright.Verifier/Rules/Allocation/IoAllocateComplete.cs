namespace Irpwright.Verification.Rules;

/// <summary>A driver frees or reuses the IRPs that it allocated; it does not complete them (ALLOC-10).</summary>
sealed class IoAllocateComplete : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IoAllocateComplete), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoAllocateComplete)), null,
        "IoCompleteRequest is called for an IRP from IoAllocateIrp that is with its originator.",
        static () => new IoAllocateComplete())
    {
        Instead = "Free the IRP with IoFreeIrp, or reuse it with IoReuseIrp; only the drivers that it was sent to complete it.",
        Wrong = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoCompleteRequest(irp, IO_NO_INCREMENT);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoFreeIrp(irp);
            """,
    };

    public Situation When => Situation.Originator;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin is not (IrpOrigin.Allocated or IrpOrigin.Initialized)) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} completed {Tracker.Irp}, which its originator made with IoAllocateIrp and no other driver has. Free or "
                + "reuse it.");
    }
}
