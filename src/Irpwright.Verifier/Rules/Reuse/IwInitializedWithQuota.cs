namespace Irpwright.Verification.Rules;

/// <summary>Initialising forgets that quota was charged for the packet (ALLOC-06, REUSE-03).</summary>
sealed class IwInitializedWithQuota : Rule, IWatch<IrpAllocated>
{
    public static RuleInfo Definition { get; } = new(nameof(IwInitializedWithQuota), RuleFamily.Reuse, Error,
        Pages.IoVerification, Codes.Io(0x20D),
        "IoInitializeIrp is called for an IRP from IoAllocateIrp with ChargeQuota TRUE.",
        static () => new IwInitializedWithQuota())
    {
        Covers = ["DV-C9-0x20D"],
        Instead = "Use IoReuseIrp for IRPs from IoAllocateIrp.",
        Wrong = """
            irp = IoAllocateIrp(lower->StackSize, TRUE);
            IoInitializeIrp(irp, IoSizeOfIrp(lower->StackSize), lower->StackSize);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize, TRUE);
            IoReuseIrp(irp, STATUS_SUCCESS);
            """,
    };

    public void On(in IrpAllocated e)
    {
        if (e.Origin != IrpOrigin.Initialized || Tracker.Known is not { Origin: IrpOrigin.Allocated, QuotaCharged: true } irp) return;
        Report(Tracker.Caller, irp.Name,
            $"{Tracker.Caller} called IoInitializeIrp for {irp}, which came from IoAllocateIrp with quota charged: the quota is lost. "
                + "Use IoReuseIrp.");
    }
}
