namespace Irpwright.Verification.Rules;

/// <summary>Memory that was never initialised as a lock is none, whatever it contains (zeroed spin locks and push locks are free).</summary>
sealed class IwLockUninitialized : Rule, IWatchCalls, IWatch<WaitStarted>
{
    static readonly IReadOnlyList<KernelExport> Routines = [.. LockRoutine.All(acquiring: true).Where(static export => LockRoutine.Of(export) is not { Kind: LockKind.PushLock })];

    public static RuleInfo Definition { get; } = new(nameof(IwLockUninitialized), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0x1002),
        "A mutex or resource is acquired, or an object waited for, that was not initialised.",
        static () => new IwLockUninitialized())
    {
        Covers = ["DV-C4-0x1002"],
        Instead = "Initialise it once, before anything can use it: in DriverEntry or AddDevice.",
        Wrong = """
            RtlZeroMemory(Extension, sizeof(*Extension));
            ExAcquireFastMutex(&Extension->Mutex);
            """,
        Right = """
            RtlZeroMemory(Extension, sizeof(*Extension));
            ExInitializeFastMutex(&Extension->Mutex);
            ExAcquireFastMutex(&Extension->Mutex);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        ulong address = e.Arguments[0];
        LockKind kind = LockRoutine.Of(e.Export)!.Value.Kind;
        bool isInitialized = kind == LockKind.Resource
            ? new PERESOURCE(address).SystemResourcesList.Flink.Address is var next && next >= GuestMemory.KernelHalf
            : IsDispatcherObject(new PDISPATCHER_HEADER(address + 0x18));
        if (!isInitialized)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} acquired the {HeldLock.Name(kind)} at {Format.Address(address)}, which was never initialised.");
    }

    public void On(in WaitStarted e)
    {
        if (!IsDispatcherObject(new PDISPATCHER_HEADER(e.Object.Address)) && (Tracker.Thread.Call.Export is not { } export || LockRoutine.Of(export) is null))
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} waits for what lies at {e.Object}, which was never initialised.");
    }

    // The list of waiters of an initialised one leads somewhere.
    static bool IsDispatcherObject(PDISPATCHER_HEADER header) => header.WaitListHead.Flink.Address >= GuestMemory.KernelHalf
        && (byte)header.Type <= (byte)KOBJECTS.TimerSynchronizationObject;
}
