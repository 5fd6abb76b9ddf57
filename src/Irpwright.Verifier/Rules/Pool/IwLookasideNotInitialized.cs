namespace Irpwright.Verification.Rules;

/// <summary>Deleting takes the list out of the system's list of lists, by links that must be there.</summary>
sealed class IwLookasideNotInitialized : Rule, IWatch<LookasideDeleted>
{
    public static RuleInfo Definition { get; } = new(nameof(IwLookasideNotInitialized), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0xCB),
        "A lookaside list is deleted that was never initialised, or is deleted already.",
        static () => new IwLookasideNotInitialized())
    {
        Covers = ["DV-C4-0xCB"],
        Instead = "Delete a list exactly once for each initialisation; remember whether there was one if it can fail.",
        Wrong = """
            ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'gaT1', 0);
            ExDeleteNPagedLookasideList(&List);
            ExDeleteNPagedLookasideList(&List);
            """,
        Right = """
            ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'gaT1', 0);
            ExDeleteNPagedLookasideList(&List);
            """,
    };

    public void On(in LookasideDeleted e)
    {
        if (Tracker.Active.Contains(ActiveKind.Lookaside, e.Lookaside.Address)) return;
        Report(Tracker.Caller, default,
            $"{Tracker.Caller} deleted a lookaside list at {Format.Address(e.Lookaside.Address)}, where there is none: it was never initialised, "
                + "or was deleted before.");
    }
}
