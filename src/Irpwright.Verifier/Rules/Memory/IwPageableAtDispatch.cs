namespace Irpwright.Verification.Rules;

/// <summary>What is paged out at DISPATCH_LEVEL or above stays out: nothing can be paged in there.</summary>
sealed class IwPageableAtDispatch : MemoryRule, IWatch<PageableTouched>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPageableAtDispatch), RuleFamily.Memory, Error,
        Pages.Kernel("when-should-code-and-data-be-pageable-"), new VerifierCode(BugCheckCode.DRIVER_IRQL_NOT_LESS_OR_EQUAL),
        "Compiled code runs in a pageable section, or touches paged pool, a pageable section or a user buffer, at DISPATCH_LEVEL or above.",
        static () => new IwPageableAtDispatch())
    {
        Covers = ["BC-0xD1", "BC-0x0A"],
        Instead = "Keep what is used at DISPATCH_LEVEL in nonpaged pool and sections, and reach a user's buffer through the system address of its locked MDL.",
        Wrong = "counters = ExAllocatePoolWithTag(PagedPool, sizeof(*counters), 'tnuC');\nKeAcquireSpinLock(&lock, &irql);\ncounters->Reads++;",
        Right = "counters = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*counters), 'tnuC');\nKeAcquireSpinLock(&lock, &irql);\ncounters->Reads++;",
    };

    public void On(in PageableTouched e)
    {
        string what = e.Access == PageAccess.Execute ? "runs in a pageable section"
            : $"{(e.Access == PageAccess.Write ? "wrote" : "read")} {Memory(e.Address)}";
        Report(PlaceOf(e.Instruction), default, $"{Code(e.Instruction)} {what} at IRQL {e.Irql}, where it may be paged out and cannot be paged in.");
    }

    string Memory(ulong address) =>
        address < GuestMemory.KernelHalf ? $"user memory at {Format.Address(address)}"
        : Machine.Pool.History?.Find(address) is { } history && address - history.Block.Address < history.Block.Size ? Describe(history.Block)
        : $"{Format.Address(address)}, which is pageable,";
}
