namespace Irpwright.Verification.Rules;

/// <summary>System services finish their requests by special kernel APCs.</summary>
sealed class IwZwWithoutApcs : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines =
        [.. KernelExports.All.Where(export => export.Name.StartsWith("Zw", StringComparison.Ordinal) && export.Name != "ZwClose")];

    public static RuleInfo Definition { get; } = new(nameof(IwZwWithoutApcs), RuleFamily.Irql, Error,
        Pages.Detected, Codes.Detected(0xE6),
        "A Zw routine is called in a guarded region, where special kernel APCs do not come.",
        static () => new IwZwWithoutApcs())
    {
        Covers = ["DV-C4-0xE6"],
        Instead = "Leave the guarded region, or release the guarded mutex, before the call; a critical region does no harm.",
        Wrong = """
            KeEnterGuardedRegion();
            status = ZwReadFile(file, NULL, NULL, NULL, &iosb, buffer, length, NULL, NULL);
            KeLeaveGuardedRegion();
            """,
        Right = """
            KeEnterCriticalRegion();
            status = ZwReadFile(file, NULL, NULL, NULL, &iosb, buffer, length, NULL, NULL);
            KeLeaveCriticalRegion();
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        // Above PASSIVE_LEVEL it is the IRQL that is wrong.
        if (e.Irql != PASSIVE_LEVEL || Tracker.Thread.Thread.Object.SpecialApcDisable == 0) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} in a guarded region: the APC that ends its request cannot come.", (ulong)e.Export.Index);
    }
}
