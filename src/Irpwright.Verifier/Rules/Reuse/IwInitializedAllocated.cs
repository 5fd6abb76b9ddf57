namespace Irpwright.Verification.Rules;

/// <summary>IoReuseIrp keeps what the allocator noted in the packet (ALLOC-06, REUSE-03).</summary>
sealed class IwInitializedAllocated : Rule, IWatch<IrpAllocated>
{
    public static RuleInfo Definition { get; } = new(nameof(IwInitializedAllocated), RuleFamily.Reuse, Advice,
        Pages.IoVerification, Codes.Io(0x238),
        "IoInitializeIrp is called for an IRP from IoAllocateIrp with ChargeQuota FALSE.",
        static () => new IwInitializedAllocated())
    {
        Covers = ["DV-C9-0x238"],
        Instead = "Use IoReuseIrp for IRPs from IoAllocateIrp.",
        Wrong = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoInitializeIrp(irp, IoSizeOfIrp(lower->StackSize), lower->StackSize);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoReuseIrp(irp, STATUS_SUCCESS);
            """,
    };

    public void On(in IrpAllocated e)
    {
        if (e.Origin != IrpOrigin.Initialized || Tracker.Known is not { Origin: IrpOrigin.Allocated, QuotaCharged: false } irp) return;
        Report(Tracker.Caller, irp.Name,
            $"{Tracker.Caller} called IoInitializeIrp for {irp}, which came from IoAllocateIrp. Use IoReuseIrp.");
    }
}
