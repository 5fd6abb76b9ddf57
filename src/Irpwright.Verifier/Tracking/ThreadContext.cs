using System.Runtime.InteropServices;

namespace Irpwright.Verification.Tracking;

/// <summary>A thread: the driver routines that run on it, innermost last, and the locks it holds.</summary>
public sealed class ThreadContext
{
    readonly Machine machine;
    readonly List<RoutineFrame> frames = [];
    readonly List<HeldLock> locks = [];
    // By depth of the sending routine, from no routine at all.
    readonly List<SentIrp?> sent = [];
    int depth;
    // DPCs run on top of a routine that waits.
    int waitDepth;

    internal ThreadContext(Machine machine, IrpTracker tracker, KernelThread thread)
    {
        this.machine = machine;
        Tracker = tracker;
        Thread = thread;
    }

    public KernelThread Thread { get; }

    internal IrpTracker Tracker { get; }

    /// <summary>The innermost routine; null if none that the kernel called runs.</summary>
    public RoutineFrame? Frame { get; private set; }

    /// <summary>The last IRP that the innermost routine sent; null if it has sent none.</summary>
    public SentIrp? Sent => depth < sent.Count && sent[depth] is { Irp.Use: not 0 } last ? last : null;

    /// <summary>What the thread waits for; null if it does not wait.</summary>
    public PVOID WaitingFor { get; private set; }

    /// <summary>The routine that waits; null if no routine does, or none that the kernel called.</summary>
    public RoutineFrame? Waiting => WaitingFor.IsNull || waitDepth == 0 ? null : frames[waitDepth - 1];

    /// <summary>The last IRP that the waiting routine sent; null if it has sent none.</summary>
    public SentIrp? SentBeforeWait => !WaitingFor.IsNull && waitDepth < sent.Count && sent[waitDepth] is { Irp.Use: not 0 } last ? last : null;

    /// <summary>Whether it holds a spin lock.</summary>
    public bool Holds(ulong spinLock) => Find(spinLock) is not null;

    /// <summary>The routines that run, innermost last.</summary>
    public ReadOnlySpan<RoutineFrame> Frames => CollectionsMarshal.AsSpan(frames)[..depth];

    /// <summary>KernelApcDisable (low) and SpecialApcDisable of the thread.</summary>
    public uint ApcDisable => Thread.Object.CombinedApcDisable;

    /// <summary>Normal kernel APCs cannot interrupt the thread.</summary>
    public bool AreApcsDisabled => Thread.Irql >= APC_LEVEL || ApcDisable != 0;

    /// <summary>The call into the kernel whose consequences the event is.</summary>
    internal PendingCall Call { get; set; }

    /// <summary>The code that called the kernel.</summary>
    public CodePlace Caller => new(machine, Frame?.Driver ?? default, Frame?.Routine ?? 0, Call.Caller);

    /// <summary>Whether a DPC runs on the thread, or something that one called: whose context it is, nobody knows.</summary>
    public bool IsInDpc
    {
        get
        {
            for (int i = depth; i > 0; i--)
            {
                if (frames[i - 1].Kind == RoutineKind.Dpc) return true;
            }
            return false;
        }
    }

    /// <summary>The locks that it holds, oldest first.</summary>
    public ReadOnlySpan<HeldLock> Locks => CollectionsMarshal.AsSpan(locks);

    /// <summary>Whether a lock is held by what runs now, not by what a DPC has interrupted, nor by a routine that ended with it.</summary>
    internal bool IsOwn(in HeldLock held)
    {
        int interrupted = 0;
        for (int i = depth; i > 0 && interrupted == 0; i--)
        {
            if (frames[i - 1].Kind == RoutineKind.Dpc) interrupted = i;
        }
        return held.Depth >= interrupted;
    }

    /// <summary>The spin lock that the innermost routine has acquired last and not released; 0 for none.</summary>
    public ulong SpinLockOfFrame
    {
        get
        {
            for (int i = locks.Count - 1; i >= 0; i--)
            {
                if (locks[i].Depth == depth && locks[i].IsSpinLock) return locks[i].Address;
            }
            return 0;
        }
    }

    /// <summary>A lock that the innermost routine has acquired and not released.</summary>
    internal HeldLock? HeldByFrame(Func<HeldLock, bool> isMeant)
    {
        foreach (HeldLock held in Locks)
        {
            if (held.Depth == depth && isMeant(held)) return held;
        }
        return null;
    }

    /// <summary>How the thread holds a lock; null if it does not.</summary>
    public HeldLock? Find(ulong address)
    {
        for (int i = locks.Count - 1; i >= 0; i--)
        {
            if (locks[i].Address == address) return locks[i];
        }
        return null;
    }

    internal RoutineFrame Push(RoutineKind kind, ulong routine, PDRIVER_OBJECT driver)
    {
        if (depth == frames.Count) frames.Add(new RoutineFrame(machine));
        RoutineFrame frame = Frame = frames[depth++];
        frame.Begin(kind, routine, driver, Thread.Irql);
        frame.ApcDisable = ApcDisable;
        if (depth < sent.Count) sent[depth]?.Clear();
        frame.SavedCall = Call;
        Call = default;
        return frame;
    }

    /// <summary>Finds the routine that returned. Those above it ended by an exception.</summary>
    internal RoutineFrame? Unwind(RoutineKind kind, ulong routine, ulong irp)
    {
        for (int i = depth; i > 0; i--)
        {
            RoutineFrame frame = frames[i - 1];
            if (frame.Kind != kind || frame.Routine != routine || frame.Irp.Address != irp) continue;
            if (i == depth) return frame;
            depth = i;
            return Frame = frame;
        }
        return null;
    }

    internal void Pop()
    {
        RoutineFrame ended = frames[--depth];
        Frame = depth == 0 ? null : frames[depth - 1];
        Call = ended.SavedCall;
        if (Frame is { } outer)
        {
            if (ended.Irql != Thread.Irql) outer.GotOtherIrql = true;
            if (ended.ApcDisable != ApcDisable) outer.GotOtherApcDisable = true;
        }
        // A lock that a routine left held is nobody's from now on.
        for (int i = 0; i < locks.Count; i++)
        {
            if (locks[i].Depth > depth) locks[i] = locks[i] with { Depth = -1 };
        }
    }

    /// <summary>To note in what the innermost routine sends.</summary>
    internal SentIrp SendSlot()
    {
        while (sent.Count <= depth) sent.Add(null);
        return sent[depth] ??= new SentIrp(machine);
    }

    internal void BeginWait(PVOID waitFor)
    {
        WaitingFor = waitFor;
        waitDepth = depth;
    }

    internal void EndWait() => WaitingFor = default;

    internal void Acquired(ulong address, LockKind kind, bool isShared = false, byte? irql = null) =>
        locks.Add(new HeldLock(address, kind, depth, isShared, irql));

    /// <returns>False if the thread does not hold it.</returns>
    internal bool Released(ulong address)
    {
        for (int i = locks.Count - 1; i >= 0; i--)
        {
            if (locks[i].Address != address) continue;
            locks.RemoveAt(i);
            return true;
        }
        return false;
    }

    /// <summary>A cancel routine is called with the cancel spin lock held, and has to release it.</summary>
    internal void HandLockToFrame()
    {
        if (locks.Count > 0) locks[^1] = locks[^1] with { Depth = depth };
    }
}
