namespace Irpwright.Verification.Rules;

/// <summary>A DPC interrupts a thread that has nothing to do with it, and must leave it as it was.</summary>
sealed class IwDpcChangedApcs : Rule, IWatch<DpcStarted>, IWatch<DpcReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwDpcChangedApcs), RuleFamily.Object, Error,
        Pages.BugCheck("0xc7--timer-or-dpc-invalid"), new(BugCheckCode.TIMER_OR_DPC_INVALID, 4),
        "A DPC routine returns with APCs of the thread disabled or enabled that were not so when it was called.",
        static () => new IwDpcChangedApcs())
    {
        Covers = ["BC-0xC7-0x4", "BC-0xC7-0x5"],
        Instead = "Leave every critical and guarded region before the routine returns; at DISPATCH_LEVEL no APC is delivered anyway.",
        Wrong = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID A, PVOID B) {
                KeEnterCriticalRegion();
            }
            """,
        Right = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID A, PVOID B) {
                KeEnterCriticalRegion();
                KeLeaveCriticalRegion();
            }
            """,
    };

    // DPCs that run, of all threads; those of one thread are innermost last.
    readonly List<(int Thread, uint ApcDisable)> running = [];

    public void On(in DpcStarted e) => running.Add((e.Thread.Id, e.Thread.Object.CombinedApcDisable));

    public void On(in DpcReturned e)
    {
        int thread = e.Thread.Id;
        int index = running.FindLastIndex(entry => entry.Thread == thread);
        if (index < 0) return;
        uint before = running[index].ApcDisable, now = e.Thread.Object.CombinedApcDisable;
        running.RemoveAt(index);
        if (now == before) return;
        Report(Tracker.Frame.Place, default,
            $"The DPC routine {Tracker.Frame} changed whether the thread it interrupted gets APCs: KernelApcDisable and SpecialApcDisable were "
                + $"0x{before:x8} and are 0x{now:x8}.");
    }
}
