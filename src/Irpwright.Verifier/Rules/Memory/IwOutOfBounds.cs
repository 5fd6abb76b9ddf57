namespace Irpwright.Verification.Rules;

/// <summary>A block has the bytes that were asked for, whatever it is rounded up to.</summary>
sealed class IwOutOfBounds : MemoryRule, IWatch<PoolBlockMisused>
{
    public static RuleInfo Definition { get; } = new(nameof(IwOutOfBounds), RuleFamily.Memory, Error,
        SpecialPool, new VerifierCode(BugCheckCode.DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION),
        "Compiled code reads or writes bytes before or behind a pool block.",
        static () => new IwOutOfBounds())
    {
        Covers = ["DV-D6", "DV-CD", "DV-C1-0x23", "DV-C1-0x24", "DV-C1-0x32", "BC-0x1F2"],
        Instead = "Ask for as many bytes as are used: count the terminating null, and multiply a number of elements by their size.",
        Wrong = "name = ExAllocatePoolWithTag(NonPagedPoolNx, length, 'emaN');\nname[length] = 0;",
        Right = "name = ExAllocatePoolWithTag(NonPagedPoolNx, length + 1, 'emaN');\nname[length] = 0;",
    };

    public void On(in PoolBlockMisused e)
    {
        if (e.Block.IsFreed) return;
        PoolBlock block = e.Block.Block;
        string where = e.Address < block.Address
            ? $"{block.Address - e.Address} before the beginning of"
            : $"{e.Address - block.Address - block.Size + 1} behind the end of";
        Report(PlaceOf(e.Instruction), default, $"{Code(e.Instruction)} {(e.IsWrite ? "wrote" : "read")} the byte {where} {Describe(block)}.");
    }
}
