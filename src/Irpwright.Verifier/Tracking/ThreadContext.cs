using System.Runtime.InteropServices;

namespace Irpwright.Verification.Tracking;

/// <summary>A thread: the driver routines that run on it, innermost last, and the locks it holds.</summary>
public sealed class ThreadContext
{
    readonly Machine machine;
    readonly List<HeldLock> locks = [];
    RoutineFrame innermost;
    // DPCs run on top of a routine that waits.
    RoutineFrame waiting;

    internal ThreadContext(Machine machine, IrpTracker tracker, KernelThread thread)
    {
        this.machine = machine;
        Tracker = tracker;
        Thread = thread;
        innermost = waiting = new RoutineFrame(machine, null);
    }

    public KernelThread Thread { get; }

    internal IrpTracker Tracker { get; }

    /// <summary>The innermost routine; null if none that the kernel called runs.</summary>
    public RoutineFrame? Frame => innermost.Depth == 0 ? null : innermost;

    /// <summary>The last IRP that the innermost routine sent; null if it has sent none.</summary>
    public SentIrp? Sent => innermost.LastSent is { Irp.Use: not 0 } last ? last : null;

    /// <summary>What the thread waits for; null if it does not wait.</summary>
    public PVOID WaitingFor { get; private set; }

    /// <summary>The routine that waits; null if no routine does, or none that the kernel called.</summary>
    public RoutineFrame? Waiting => WaitingFor.IsNull || waiting.Depth == 0 ? null : waiting;

    /// <summary>The last IRP that the waiting routine sent; null if it has sent none.</summary>
    public SentIrp? SentBeforeWait => !WaitingFor.IsNull && waiting.LastSent is { Irp.Use: not 0 } last ? last : null;

    /// <summary>Whether it holds a spin lock.</summary>
    public bool Holds(ulong spinLock) => Find(spinLock) is not null;

    /// <summary>How many routines run.</summary>
    public int Depth => innermost.Depth;

    /// <summary>Normal kernel APCs cannot interrupt the thread.</summary>
    public bool AreApcsDisabled => Thread.Irql >= APC_LEVEL || Thread.ApcDisable != 0;

    /// <summary>The call into the kernel whose consequences the event is.</summary>
    internal ref PendingCall Call => ref innermost.Call;

    /// <summary>The code that called the kernel.</summary>
    public CodePlace Caller => new(machine, innermost.Driver, innermost.Routine, Call.Caller);

    /// <summary>Whether a DPC runs on the thread, or something that one called: whose context it is, nobody knows.</summary>
    public bool IsInDpc => InnermostDpc > 0;

    /// <summary>The depth at which a DPC runs; 0 if none does.</summary>
    int InnermostDpc
    {
        get
        {
            RoutineFrame frame = innermost;
            while (frame.Outer is { } outer && frame.Kind != RoutineKind.Dpc) frame = outer;
            return frame.Depth;
        }
    }

    /// <summary>The locks that it holds, oldest first.</summary>
    public ReadOnlySpan<HeldLock> Locks => CollectionsMarshal.AsSpan(locks);

    /// <summary>Whether a lock is held by what runs now, not by what a DPC has interrupted, nor by a routine that ended with it.</summary>
    internal bool IsOwn(in HeldLock held) => held.Depth >= InnermostDpc;

    /// <summary>The spin lock that the innermost routine has acquired last and not released; 0 for none.</summary>
    public ulong SpinLockOfFrame
    {
        get
        {
            for (int i = locks.Count - 1; i >= 0; i--)
            {
                if (locks[i].Depth == Depth && locks[i].IsSpinLock) return locks[i].Address;
            }
            return 0;
        }
    }

    /// <summary>A lock that the innermost routine has acquired and not released.</summary>
    internal HeldLock? HeldByFrame(Func<HeldLock, bool> isMeant)
    {
        foreach (HeldLock held in Locks)
        {
            if (held.Depth == Depth && isMeant(held)) return held;
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

    internal RoutineFrame Push(
        RoutineKind kind, ulong routine, PDRIVER_OBJECT driver, in IrpName irp = default, Visit? visit = null, sbyte location = 0)
    {
        RoutineFrame frame = innermost = innermost.Inner ??= new RoutineFrame(machine, innermost);
        frame.Begin(Thread, kind, routine, driver, in irp, visit, location);
        return frame;
    }

    /// <summary>Finds the routine that returned. Those above it ended by an exception.</summary>
    internal RoutineFrame? Unwind(RoutineKind kind, ulong routine, ulong irp)
    {
        for (RoutineFrame frame = innermost; frame.Outer is { } outer; frame = outer)
        {
            if (frame.Kind != kind || frame.Routine != routine || frame.Irp.Address != irp) continue;
            if (frame != innermost) innermost = frame;
            return frame;
        }
        return null;
    }

    internal void Pop()
    {
        RoutineFrame ended = innermost, outer = innermost = ended.Outer!;
        if (ended.Irql != Thread.Irql) outer.GotOtherIrql = true;
        if (ended.ApcDisable != Thread.ApcDisable) outer.GotOtherApcDisable = true;
        // A lock that a routine left held is nobody's from now on.
        for (int i = 0; i < locks.Count; i++)
        {
            if (locks[i].Depth > Depth) locks[i] = locks[i] with { Depth = -1 };
        }
    }

    /// <summary>To note in what the innermost routine sends.</summary>
    internal SentIrp SendSlot() => innermost.LastSent;

    internal void BeginWait(PVOID waitFor)
    {
        WaitingFor = waitFor;
        waiting = innermost;
    }

    internal void EndWait() => WaitingFor = default;

    internal void Acquired(ulong address, LockKind kind, bool isShared = false, byte? irql = null) =>
        locks.Add(new HeldLock(address, kind, Depth, isShared, irql));

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
        if (locks.Count > 0) locks[^1] = locks[^1] with { Depth = Depth };
    }
}
