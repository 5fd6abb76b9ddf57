namespace Irpwright.Verification.Rules;

/// <summary>What threads synchronise by is touched at DISPATCH_LEVEL: the kernel cannot have it paged out.</summary>
sealed class IwLockMisplaced : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Initializing = [.. new[]
    {
        "KeInitializeSpinLock", "KeInitializeEvent", "KeInitializeMutex", "KeInitializeMutant", "KeInitializeSemaphore", "KeInitializeTimer",
        "KeInitializeTimerEx", "KeInitializeGuardedMutex", "ExInitializeResourceLite", "ExInitializePushLock", "KeInitializeDpc", "KeInitializeDeviceQueue",
    }.Select(KernelExports.Find).OfType<KernelExport>()];

    static readonly IReadOnlyList<KernelExport> Routines = [.. Initializing, .. LockRoutine.All(acquiring: true)];

    public static RuleInfo Definition { get; } = new(nameof(IwLockMisplaced), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0xE1),
        "A synchronisation object lies in pageable memory, or a resource or push lock at an address that is not a multiple of 8.",
        static () => new IwLockMisplaced())
    {
        Covers = ["DV-C4-0x3D", "DV-C4-0xE1"],
        Instead = "Keep locks, events, timers and DPCs in the device extension or in nonpaged pool, and do not pack the structure around them.",
        Wrong = """
            context = ExAllocatePoolWithTag(PagedPool, sizeof(*context), TAG);
            KeInitializeEvent(&context->Done, NotificationEvent, FALSE);
            """,
        Right = """
            context = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*context), TAG);
            KeInitializeEvent(&context->Done, NotificationEvent, FALSE);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        ulong address = e.Arguments[0];
        bool isPushLock = LockRoutine.Of(e.Export) is { Kind: LockKind.PushLock } || e.Export == KernelExports.ExInitializePushLock;
        bool isAligned = isPushLock || LockRoutine.Of(e.Export) is { Kind: LockKind.Resource } || e.Export == KernelExports.ExInitializeResourceLite;
        string? where = !isPushLock && PagedCode.IsPageable(address) ? "in pageable memory" : isAligned && (address & 7) != 0 ? "at an address that is not a multiple of 8" : null;
        if (where is not null)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName} for {Format.Address(address)}, which lies {where}.");
    }
}
