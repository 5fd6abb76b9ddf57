namespace Irpwright.Verification.Rules;

/// <summary>A freed block belongs to nobody; soon it is another block, and then to somebody else.</summary>
sealed class IwUsedAfterFree : MemoryRule, IWatch<PoolBlockMisused>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUsedAfterFree), RuleFamily.Memory, Error,
        SpecialPool, new VerifierCode(BugCheckCode.DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL),
        "Compiled code reads or writes a pool block, or an IRP, that was freed.",
        static () => new IwUsedAfterFree())
    {
        Covers = ["DV-D5", "DV-CC", "CQ-UseAfterFree"],
        Instead = "Take what is needed out of the block before it is freed, or free it when nobody uses it any more. An IRP may be freed inside IoCompleteRequest and IoCallDriver.",
        Wrong = "ExFreePoolWithTag(context, 'txtC');\nreturn context->Status;",
        Right = "status = context->Status;\nExFreePoolWithTag(context, 'txtC');\nreturn status;",
    };

    const uint IrpTag = 0x20707249;

    public void On(in PoolBlockMisused e)
    {
        if (!e.Block.IsFreed) return;
        CodePlace place = PlaceOf(e.Instruction);
        PoolBlock block = e.Block.Block;
        bool isIrp = block is { Owner: 0, Tag: IrpTag };
        string what = isIrp ? $"the IRP at {Format.Address(block.Address)}" : Describe(block);
        Report(place, isIrp ? IrpName.Unseen(block.Address) : default,
            $"{Code(e.Instruction)} {(e.IsWrite ? "wrote" : "read")} byte {e.Address - block.Address} of {what}, after {Code(e.Block.FreedBy)} had freed it on thread {e.Block.FreedOn}.");
    }
}
