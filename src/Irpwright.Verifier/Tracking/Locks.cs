namespace Irpwright.Verification.Tracking;

/// <summary>What kind of lock a thread holds.</summary>
public enum LockKind : byte
{
    SpinLock,
    /// <summary>A spin lock acquired by an in-stack queued routine.</summary>
    QueuedSpinLock,
    /// <summary>The system's one.</summary>
    CancelSpinLock,
    FastMutex,
    GuardedMutex,
    /// <summary>KMUTEX.</summary>
    Mutex,
    /// <summary>ERESOURCE.</summary>
    Resource,
    PushLock,
}

/// <summary>A lock that a thread holds. One that it has acquired twice is there twice.</summary>
/// <param name="Depth">How many routines were running on the thread when it was acquired; -1 once the one that acquired it has ended.</param>
/// <param name="IsShared">A resource or push lock that others may have as well.</param>
/// <param name="Irql">The IRQL before; null where that is not known.</param>
public readonly record struct HeldLock(ulong Address, LockKind Kind, int Depth, bool IsShared = false, byte? Irql = null)
{
    public bool IsSpinLock => Kind <= LockKind.CancelSpinLock;

    public override string ToString() => $"the {Name(Kind)} at {Format.Address(Address)}";

    internal static string Name(LockKind kind) => kind switch
    {
        LockKind.SpinLock => "spin lock",
        LockKind.QueuedSpinLock => "queued spin lock",
        LockKind.CancelSpinLock => "cancel spin lock",
        LockKind.FastMutex => "fast mutex",
        LockKind.GuardedMutex => "guarded mutex",
        LockKind.Mutex => "mutex",
        LockKind.PushLock => "push lock",
        _ => "resource",
    };
}

/// <summary>What a kernel routine does with the lock that is its first argument.</summary>
/// <param name="MayFail">It may return FALSE instead, at once.</param>
readonly record struct LockRoutine(LockKind Kind, bool Acquires, bool IsShared = false, bool MayFail = false)
{
    static readonly LockRoutine?[] Table = Make();

    /// <summary>Null for a routine that is about no lock, or about one that has events of its own.</summary>
    internal static LockRoutine? Of(KernelExport export) => Table[export.Index];

    /// <summary>The routines that acquire fast mutexes, guarded mutexes, resources and push locks, or that release them.</summary>
    internal static IEnumerable<KernelExport> All(bool acquiring) => KernelExports.All.Where(e => Of(e) is { } routine && routine.Acquires == acquiring);

    static LockRoutine?[] Make()
    {
        var table = new LockRoutine?[KernelExports.All.Count];
        LockRoutine fast = new(LockKind.FastMutex, true), guarded = new(LockKind.GuardedMutex, true), resource = new(LockKind.Resource, true);
        Set(fast, "ExAcquireFastMutex", "ExAcquireFastMutexUnsafe");
        Set(fast with { MayFail = true }, "ExTryToAcquireFastMutex");
        Set(fast with { Acquires = false }, "ExReleaseFastMutex", "ExReleaseFastMutexUnsafe");
        Set(guarded, "KeAcquireGuardedMutex", "KeAcquireGuardedMutexUnsafe");
        Set(guarded with { MayFail = true }, "KeTryToAcquireGuardedMutex");
        Set(guarded with { Acquires = false }, "KeReleaseGuardedMutex", "KeReleaseGuardedMutexUnsafe");
        Set(resource with { MayFail = true }, "ExAcquireResourceExclusiveLite");
        Set(resource with { IsShared = true, MayFail = true },
            "ExAcquireResourceSharedLite", "ExAcquireSharedStarveExclusive", "ExAcquireSharedWaitForExclusive");
        Set(resource, "ExEnterCriticalRegionAndAcquireResourceExclusive");
        Set(resource with { IsShared = true },
            "ExEnterCriticalRegionAndAcquireResourceShared", "ExEnterCriticalRegionAndAcquireSharedWaitForExclusive");
        Set(resource with { Acquires = false }, "ExReleaseResourceLite", "ExReleaseResourceForThreadLite", "ExReleaseResourceAndLeaveCriticalRegion");
        LockRoutine push = new(LockKind.PushLock, true);
        Set(push, "ExAcquirePushLockExclusiveEx");
        Set(push with { IsShared = true }, "ExAcquirePushLockSharedEx");
        Set(push with { Acquires = false }, "ExReleasePushLockExclusiveEx", "ExReleasePushLockSharedEx");
        return table;

        void Set(LockRoutine routine, params ReadOnlySpan<string> names)
        {
            foreach (string name in names)
            {
                if (KernelExports.Find(name) is { } export) table[export.Index] = routine;
            }
        }
    }
}
