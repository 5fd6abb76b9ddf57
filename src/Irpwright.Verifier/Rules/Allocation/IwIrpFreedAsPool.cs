namespace Irpwright.Verification.Rules;

/// <summary>Where IRPs come from is the I/O manager's business (ALLOC-07).</summary>
sealed class IwIrpFreedAsPool : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwIrpFreedAsPool), RuleFamily.Allocation, Error,
        Pages.Debugger("bug-check-0xc4--driver-verifier-detected-violation"), Codes.Detected(0x105),
        "An IRP from IoAllocateIrp or IoBuildXxx is released with ExFreePool.",
        static () => new IwIrpFreedAsPool())
    {
        Covers = ["DV-C4-0x105"],
        Instead = "Free IRPs with IoFreeIrp.",
        Wrong = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            ExFreePool(irp);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoFreeIrp(irp);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.ExFreePool, KernelExports.ExFreePoolWithTag];

    public void Called(in DdiCalled e)
    {
        if (Tracker.At(e.Arguments[0]) is not { Origin: not (null or IrpOrigin.Initialized) } irp) return;
        Report(Tracker.Caller, irp.Name, $"{Tracker.Caller} released {irp} with {e.Export.SourceName}. Use IoFreeIrp.");
    }
}
