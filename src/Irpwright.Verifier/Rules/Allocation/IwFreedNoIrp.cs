namespace Irpwright.Verification.Rules;

/// <summary>The packet's Type says whether it is one (ALLOC-08).</summary>
sealed class IwFreedNoIrp : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedNoIrp), RuleFamily.Allocation, Error,
        Pages.IoVerification, Codes.Io(0x1),
        "IoFreeIrp is called with something that is no IRP, or was freed.",
        static () => new IwFreedNoIrp())
    {
        Covers = ["DV-C9-0x01"],
        Instead = "Free each IRP once, and only what came from IoAllocateIrp or IoBuildAsynchronousFsdRequest.",
        Wrong = """
            IoFreeIrp(irp);
            IoFreeIrp(irp);
            """,
        Right = """
            IoFreeIrp(irp);
            irp = NULL;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoFreeIrp];

    public void Called(in DdiCalled e)
    {
        PIRP irp = new(e.Arguments[0]);
        if (GuestMemory.IsAccessible(irp.Address, IRP.SizeOf, PageAccess.Read) && irp.Type == IO_TYPE_IRP) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called IoFreeIrp with {Format.Address(irp.Address)}, which is no IRP: it was freed, or never was one.");
    }
}
