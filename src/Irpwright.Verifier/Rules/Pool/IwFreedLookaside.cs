namespace Irpwright.Verification.Rules;

/// <summary>The system keeps all lookaside lists in a list of its own and adjusts their depths.</summary>
sealed class IwFreedLookaside() : FreedMemoryRule(ActiveKind.Lookaside)
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedLookaside), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0xCC),
        "Memory is freed that contains a lookaside list which was not deleted.",
        static () => new IwFreedLookaside())
    {
        Covers = ["DV-C4-0xCC"],
        Instead = "Call ExDeleteNPagedLookasideList, ExDeletePagedLookasideList or ExDeleteLookasideListEx before the memory is freed.",
        Wrong = """
            ExInitializeNPagedLookasideList(&context->List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'gaT1', 0);
            ExFreePoolWithTag(context, 'gaT1');
            """,
        Right = """
            ExInitializeNPagedLookasideList(&context->List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'gaT1', 0);
            ExDeleteNPagedLookasideList(&context->List);
            ExFreePoolWithTag(context, 'gaT1');
            """,
    };

    protected override string What => "a lookaside list that was not deleted";

    protected override string Consequence => "The system will write to it when it next adjusts the depths of lists.";
}
