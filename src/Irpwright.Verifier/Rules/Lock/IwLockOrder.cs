namespace Irpwright.Verification.Rules;

/// <summary>
/// Threads that acquire the same locks in different orders wait for each other at another time. Not only locks: who waits for an event
/// while it holds a lock waits for whoever sets the event, who must not need that lock.
/// </summary>
/// <remarks>
/// An edge leads from what a thread holds to what it then waits for, and from an event to what is held when it is set. A cycle is a
/// deadlock unless a lock is held along all its edges, or readers share it. Locks are taken to be used so by other threads too; an event
/// that a thread sets and waits for itself, as for a request that is completed at once, is no other's.
/// </remarks>
sealed class IwLockOrder : Rule, IWatchCalls, IWatch<SpinLockAcquired>, IWatch<WaitStarted>, IWatch<WaitEnded>, IWatch<EventSet>, IWatch<PoolAllocated>
{
    const int SeveralThreads = -1;

    sealed class Edge(CodePlace place, ulong[] guards, int thread, bool isEvent, string from, string to)
    {
        internal readonly CodePlace Place = place;
        internal readonly bool IsEvent = isEvent;
        internal int Thread = thread;
        internal readonly string From = from, To = to;
        /// <summary>What else was held, each time.</summary>
        internal ulong[] Guards = guards;
    }

    static readonly KernelExport[] Waiting = [.. LockRoutine.All(acquiring: true)];
    static readonly KernelExport[] Initializing =
    [
        KernelExports.KeInitializeSpinLock, KernelExports.KeInitializeEvent, KernelExports.KeInitializeMutex,
        KernelExports.KeInitializeGuardedMutex, KernelExports.ExInitializeResourceLite, KernelExports.ExInitializePushLock,
    ];
    static readonly IReadOnlyList<KernelExport> Routines = [.. Waiting, .. Initializing];

    readonly Dictionary<ulong, Dictionary<ulong, Edge>> edges = [];
    readonly HashSet<ulong> visited = [];
    readonly List<Edge> path = [];

    public static RuleInfo Definition { get; } = new(nameof(IwLockOrder), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0x1001),
        "Locks are acquired in orders that can end in a deadlock; or an event is waited for with a lock held that is held where it is set.",
        static () => new IwLockOrder())
    {
        Covers = ["DV-C4-0x1001"],
        Instead = "Acquire locks in one order everywhere; hold none of them during a wait that others need for ending it.",
        Wrong = """
            ExAcquireFastMutex(&Extension->Queue); // in the dispatch routine
            ExAcquireFastMutex(&Extension->State);

            ExAcquireFastMutex(&Extension->State); // in the worker thread
            ExAcquireFastMutex(&Extension->Queue);
            """,
        Right = """
            ExAcquireFastMutex(&Extension->Queue); // in the dispatch routine
            ExAcquireFastMutex(&Extension->State);

            ExAcquireFastMutex(&Extension->Queue); // in the worker thread
            ExAcquireFastMutex(&Extension->State);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        ulong address = e.Arguments[0];
        if (LockRoutine.Of(e.Export) is not { } routine)
        {
            // A fast mutex is initialised by its event.
            Forget(address, 1);
            if (e.Export == KernelExports.KeInitializeEvent) Forget(address - FastMutexEvent, 1);
            return;
        }
        bool waits = !routine.MayFail || (routine.Kind == LockKind.Resource && (byte)e.Arguments[1] != 0);
        if (waits) Wait(address, LockName(routine.Kind, address), routine.IsShared);
    }

    const ulong FastMutexEvent = 0x18;

    public void On(in SpinLockAcquired e)
    {
        // An interrupt borrows a thread that may hold anything.
        if (Tracker.Thread.Call.Export?.Name.Contains("TryTo", StringComparison.Ordinal) == true) return;
        ulong address = e.SpinLock.Address;
        Wait(address, LockName(Tracker.Thread.Locks[^1].Kind, address), isShared: false);
    }

    public void On(in WaitStarted e)
    {
        if (!e.MayBlock || Tracker.Thread.Locks.IsEmpty) return;
        ulong address = e.Object.Address;
        // Waits inside of a routine for a lock were looked at when it was called.
        if (Tracker.Thread.Call.Export is { } export && LockRoutine.Of(export) is not null) return;
        Wait(address, IrpTracker.IsMutex(e.Object) ? LockName(LockKind.Mutex, address) : EventName(address), isShared: false);
    }

    public void On(in EventSet e)
    {
        foreach (HeldLock held in Tracker.Thread.Locks)
        {
            if (!held.IsSpinLock && Tracker.Thread.IsOwn(in held) && !TryKnown(e.Event.Address, held.Address))
                Add(e.Event.Address, held.Address, isEvent: true, EventName(e.Event.Address), held.ToString());
        }
    }

    // What a thread has set for itself, it has waited for now.
    public void On(in WaitEnded e)
    {
        if (edges.Count == 0 || !edges.TryGetValue(e.Object.Address, out Dictionary<ulong, Edge>? targets)) return;
        foreach ((ulong to, Edge edge) in targets)
        {
            if (edge.IsEvent && edge.Thread == e.Thread.Id) targets.Remove(to);
        }
    }

    // New memory: what lay there before is gone.
    public void On(in PoolAllocated e)
    {
        if (edges.Count > 0) Forget(e.Address, e.Size);
    }

    void Wait(ulong address, string name, bool isShared)
    {
        ReadOnlySpan<HeldLock> locks = Tracker.Thread.Locks;
        // A second acquisition waits for nothing. A spin lock is on the list by now, as the last one.
        for (int i = 0; i < locks.Length - 1; i++)
        {
            if (locks[i].Address == address) return;
        }
        foreach (HeldLock held in locks)
        {
            if (held.Address != address && !(held.IsShared && isShared) && Tracker.Thread.IsOwn(in held)) Add(held.Address, address, held, name);
        }
    }

    void Add(ulong from, ulong to, HeldLock held, string name)
    {
        if (!TryKnown(from, to)) Add(from, to, isEvent: false, held.ToString(), name);
    }

    // Whether the edge is known, and nothing new was learnt about it.
    bool TryKnown(ulong from, ulong to)
    {
        if (!edges.TryGetValue(from, out Dictionary<ulong, Edge>? targets) || !targets.TryGetValue(to, out Edge? edge)) return false;
        if (edge.Thread != SeveralThreads && edge.Thread != Tracker.Thread.Thread.Id) return false;
        foreach (ulong guard in edge.Guards)
        {
            if (Tracker.Thread.Find(guard) is null) return false;
        }
        return true;
    }

    void Add(ulong from, ulong to, bool isEvent, string fromName, string toName)
    {
        int thread = Tracker.Thread.Thread.Id;
        ulong[] held = [.. Tracker.Thread.Locks.ToArray().Select(l => l.Address).Where(a => a != from && a != to)];
        if (!edges.TryGetValue(from, out Dictionary<ulong, Edge>? targets)) edges.Add(from, targets = []);
        if (targets.TryGetValue(to, out Edge? edge))
        {
            edge.Guards = [.. edge.Guards.Intersect(held)];
            if (edge.Thread != thread) edge.Thread = SeveralThreads;
        }
        else
        {
            targets.Add(to, edge = new Edge(Tracker.Caller, held, thread, isEvent, fromName, toName));
        }
        visited.Clear();
        path.Clear();
        path.Add(edge);
        if (Leads(to, from) && IsUnguarded() && !IsOwnEvent())
        {
            string others = string.Join("; ", path.Skip(1).Select(e => $"{e.Place} waits for {e.To} with {e.From}"));
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} waits for {toName} with {fromName}, but {others}: at the wrong moment they wait for each other.", from ^ to);
        }
    }

    bool Leads(ulong from, ulong to)
    {
        if (!visited.Add(from) || !edges.TryGetValue(from, out Dictionary<ulong, Edge>? targets)) return false;
        foreach ((ulong next, Edge edge) in targets)
        {
            path.Add(edge);
            if (next == to || Leads(next, to)) return true;
            path.RemoveAt(path.Count - 1);
        }
        return false;
    }

    bool IsUnguarded() => !path[0].Guards.Any(guard => path.TrueForAll(edge => edge.Guards.Contains(guard)));

    bool IsOwnEvent() => path.Exists(edge => edge.IsEvent)
        && path[0].Thread != SeveralThreads && path.TrueForAll(edge => edge.Thread == path[0].Thread);

    void Forget(ulong start, ulong size)
    {
        if (edges.Count == 0) return;
        foreach ((ulong from, Dictionary<ulong, Edge> targets) in edges)
        {
            foreach (ulong to in targets.Keys)
            {
                if (to - start < size) targets.Remove(to);
            }
            if (from - start < size || targets.Count == 0) edges.Remove(from);
        }
    }

    static string LockName(LockKind kind, ulong address) => $"the {HeldLock.Name(kind)} at {Format.Address(address)}";

    static string EventName(ulong address) => $"the event at {Format.Address(address)}";
}
