namespace Irpwright.Verification.Rules;

/// <summary>Who gets a request of kernel mode does not check its addresses (BUF-08).</summary>
sealed class IwUserAddressFromKernel : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUserAddressFromKernel), RuleFamily.Allocation, Error,
        Pages.Debugger("bug-check-0xc4--driver-verifier-detected-violation"), Codes.Detected(0xE2),
        "A driver sends an IRP of its own with RequestorMode KernelMode and a user-mode address as buffer.",
        static () => new IwUserAddressFromKernel())
    {
        Covers = ["DV-C4-0xE2"],
        Instead = "Pass a kernel address: copy the data, or describe the user's buffer with an MDL.",
        Wrong = """
            irp->RequestorMode = KernelMode;
            irp->UserBuffer = userAddress;
            IoCallDriver(lower, irp);
            """,
        Right = """
            irp->RequestorMode = KernelMode;
            irp->UserBuffer = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
            IoCallDriver(lower, irp);
            """,
    };

    const ulong LowestUserAddress = 0x10000;

    public Situation When => Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin is null or IrpOrigin.Request || e.Irp.RequestorMode != MODE.KernelMode) return;
        ulong used = IsUser(e.Irp.AssociatedIrp.SystemBuffer) ? e.Irp.AssociatedIrp.SystemBuffer.Address
            : IsUser(e.Irp.UserBuffer) ? e.Irp.UserBuffer.Address : 0;
        if (used == 0) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with RequestorMode KernelMode and the user-mode address {Format.Address(used)}.");
    }

    static bool IsUser(PVOID buffer) => buffer.Address is >= LowestUserAddress and <= Mdls.HighestUserAddress;
}
