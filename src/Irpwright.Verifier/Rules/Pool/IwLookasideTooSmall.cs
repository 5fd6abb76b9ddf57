namespace Irpwright.Verification.Rules;

/// <summary>A block that a list keeps holds the link to the next one.</summary>
sealed class IwLookasideTooSmall : Rule, IWatch<LookasideInitialized>
{
    const ulong MinimumBlockSize = 8; // LOOKASIDE_MINIMUM_BLOCK_SIZE

    public static RuleInfo Definition { get; } = new(nameof(IwLookasideTooSmall), RuleFamily.Pool, Warning,
        Pages.Detected, Codes.Detected(0xCD),
        "A lookaside list is initialised for blocks that are smaller than LOOKASIDE_MINIMUM_BLOCK_SIZE.",
        static () => new IwLookasideTooSmall())
    {
        Covers = ["DV-C4-0xCD"],
        Instead = "Ask for at least LOOKASIDE_MINIMUM_BLOCK_SIZE bytes; for less, a lookaside list is not worth it.",
        Wrong = "ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, sizeof(ULONG), 'gaT1', 0);",
        Right = "ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, LOOKASIDE_MINIMUM_BLOCK_SIZE, 'gaT1', 0);",
    };

    public void On(in LookasideInitialized e)
    {
        if (e.BlockSize >= MinimumBlockSize) return;
        Report(Tracker.Caller, default,
            $"{Tracker.Caller} initialised a lookaside list for blocks of {e.BlockSize} bytes; the smallest that a list can keep have {MinimumBlockSize}.");
    }
}
