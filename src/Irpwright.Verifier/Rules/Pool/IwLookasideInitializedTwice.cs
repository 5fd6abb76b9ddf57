namespace Irpwright.Verification.Rules;

/// <summary>The blocks that the list keeps would be lost, and the system's list of lists damaged.</summary>
sealed class IwLookasideInitializedTwice : Rule, IWatch<LookasideInitialized>
{
    public static RuleInfo Definition { get; } = new(nameof(IwLookasideInitializedTwice), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0xCA),
        "A lookaside list is initialised that is initialised already and was not deleted.",
        static () => new IwLookasideInitializedTwice())
    {
        Covers = ["DV-C4-0xCA"],
        Instead = "Initialise the list once, where its memory is allocated; delete it before it is initialised for other blocks.",
        Wrong = """
            ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'gaT1', 0);
            ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 128, 'gaT1', 0);
            """,
        Right = """
            ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'gaT1', 0);
            ExDeleteNPagedLookasideList(&List);
            ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 128, 'gaT1', 0);
            """,
    };

    public void On(in LookasideInitialized e)
    {
        if (!Tracker.Active.Contains(ActiveKind.Lookaside, e.Lookaside.Address)) return;
        Report(Tracker.Caller, default,
            $"{Tracker.Caller} initialised the lookaside list at {Format.Address(e.Lookaside.Address)} again without deleting it: the blocks in it "
                + "are lost, and it is twice in the system's list of lookaside lists.");
    }
}
