namespace Irpwright.Verification.Rules;

/// <summary>An in-stack queued spin lock and a plain one are the same memory, used in different ways.</summary>
sealed class IwLockMixed : Rule, IWatch<SpinLockAcquired>, IWatchCalls, IWatch<PoolAllocated>
{
    static readonly IReadOnlyList<KernelExport> Routines =
    [
        KernelExports.KeReleaseSpinLock, KernelExports.KeReleaseSpinLockFromDpcLevel, KernelExports.KeReleaseInStackQueuedSpinLock,
        KernelExports.KeReleaseInStackQueuedSpinLockFromDpcLevel, KernelExports.KeInitializeSpinLock,
    ];

    readonly Dictionary<ulong, LockKind> kinds = [];

    public static RuleInfo Definition { get; } = new(nameof(IwLockMixed), RuleFamily.Lock, Error,
        Pages.Kernel("queued-spin-locks"), Codes.Detected(0x1008),
        "A spin lock is acquired or released by an in-stack queued routine at one time and by another routine at another.",
        static () => new IwLockMixed())
    {
        Covers = ["DV-C4-0x1008", "DV-C4-0x1009"],
        Instead = "Decide for one kind of routine for each lock.",
        Wrong = """
            KeAcquireInStackQueuedSpinLock(&Extension->Lock, &handle); // in the dispatch routine
            KeAcquireSpinLockAtDpcLevel(&Extension->Lock); // in the DPC
            """,
        Right = """
            KeAcquireInStackQueuedSpinLock(&Extension->Lock, &handle); // in the dispatch routine
            KeAcquireInStackQueuedSpinLockAtDpcLevel(&Extension->Lock, &handle); // in the DPC
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void On(in SpinLockAcquired e)
    {
        // Acquired by the kernel itself, as an interrupt's lock is: no routine of that name was called.
        if (Tracker.Thread.Find(e.SpinLock.Address) is not { IsSpinLock: true, Irql: not null } held) return;
        if (kinds.TryAdd(held.Address, held.Kind) || kinds[held.Address] == held.Kind) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} acquired {held}, which was used as a {HeldLock.Name(kinds[held.Address])} before.");
    }

    public void Called(in DdiCalled e)
    {
        if (e.Export == KernelExports.KeInitializeSpinLock)
        {
            kinds.Remove(e.Arguments[0]);
            return;
        }
        bool isQueued = e.Export.Name.Contains("InStack", StringComparison.Ordinal);
        ulong address = isQueued ? new PKLOCK_QUEUE_HANDLE(e.Arguments[0]).LockQueue.Lock.Address : e.Arguments[0];
        if (Tracker.Thread.Find(address) is not { Irql: not null } held || (held.Kind == LockKind.QueuedSpinLock) == isQueued) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} released {held} by {e.Export.SourceName}.", 1);
    }

    // New memory: what lay there before is gone.
    public void On(in PoolAllocated e)
    {
        foreach (ulong address in kinds.Keys)
        {
            if (address - e.Address < e.Size) kinds.Remove(address);
        }
    }
}
