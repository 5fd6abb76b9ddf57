namespace Irpwright.Verification.Rules;

/// <summary>Fresh memory holds whatever was there before. Copying that hurts nobody, acting upon it does.</summary>
sealed class IwUninitializedValue : MemoryRule, IWatch<UninitializedUsed>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUninitializedValue), RuleFamily.Memory, Error,
        Pages.Ddi("nf-wdm-exallocatepoolwithtag"), null,
        "Compiled code decides by a value of pool memory, of allocated pages or of a local variable that nobody has written, or uses it as an address or as an argument of a kernel routine.",
        static () => new IwUninitializedValue())
    {
        Covers = ["DV-LRS-UninitPages"],
        Instead = "Allocate zeroed memory (ExAllocatePool2), or write every field before it is read. Give local variables a value where they are declared.",
        Wrong = "context = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*context), 'txtC');\nif (context->Retries > 3) ...",
        Right = "context = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*context), 'txtC');\nRtlZeroMemory(context, sizeof(*context));\nif (context->Retries > 3) ...",
    };

    public void On(in UninitializedUsed e)
    {
        string use = e.Use switch
        {
            UninitializedUse.Condition => "decided by",
            UninitializedUse.Address => "used as an address",
            _ => "passed to the kernel",
        };
        Report(PlaceOf(e.Instruction), default, $"{Code(e.Instruction)} {use} a value that nobody has written. It was last read from {Source(e.Source)}.");
    }

    string Source(ulong address) =>
        address == 0 ? "memory that is not known any more"
        : Machine.Pool.History?.Find(address) is { } history && address - history.Block.Address < history.Block.Size
            ? $"byte {address - history.Block.Address} of {Describe(history.Block)}"
        : Machine.Memory.ThreadAreas.Contains(address) ? $"the stack, at {Format.Address(address)}"
        : Format.Address(address);
}
