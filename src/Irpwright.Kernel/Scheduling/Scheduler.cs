using System.Collections.Concurrent;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Why a thread is at a scheduling point.</summary>
public enum SchedulingPoint : byte
{
    /// <summary>It sends, completes or cancels an IRP.</summary>
    Irp,
    /// <summary>It called another kernel routine that synchronises.</summary>
    Call,
    /// <summary>It is about to execute an interlocked instruction, or calls one by its name in C#.</summary>
    Interlocked,
    /// <summary>Its IRQL fell.</summary>
    IrqlLowered,
    /// <summary>It queued a DPC.</summary>
    DpcQueued,
    /// <summary>It made another thread ready.</summary>
    Wake,
    /// <summary>It spins on a lock that another thread holds, or executed a pause instruction.</summary>
    Spin,
    /// <summary>It waits.</summary>
    Wait,
    /// <summary>It ended.</summary>
    Exit,
}

/// <summary>Something that happens to a processor at a time: a timer that expires, a device that interrupts.</summary>
/// <param name="name">For schedules and reports.</param>
/// <param name="irql">IRQL that the handler runs at; processors at this IRQL or above do not take it. PASSIVE_LEVEL: any does.</param>
/// <param name="handler">Runs on a borrowed thread; must not wait.</param>
public sealed class Interrupt(string name, byte irql, Action handler)
{
    public string Name { get; } = name;

    public byte Irql { get; } = irql;

    internal Action Handler { get; } = handler;

    /// <summary>Whether it ends somebody's patience: then it never comes early, as nothing real could be so late.</summary>
    public bool IsWatchdog { get; init; }

    /// <summary>Interrupt time at which it happens, 100 ns; meaningful while <see cref="IsPending"/>.</summary>
    public long DueTime { get; internal set; }

    public bool IsPending { get; internal set; }

    internal long Sequence;
}

/// <summary>Threads that lived a moment ago, with a reference to the object of each.</summary>
readonly struct ReferencedThreads(Machine machine, KernelThread[] all) : IDisposable
{
    internal KernelThread[] All => all;

    public void Dispose()
    {
        foreach (KernelThread thread in all) machine.Objects.ObfDereferenceObject(thread.Object);
    }
}

/// <summary>Decides who runs, and when time passes. All waiting, spinning and DPC delivery goes through it.</summary>
public abstract class Scheduler
{
    const int HostStackOfDrivers = 2 << 20;

    // With the threads of a stopped machine: while they may still come across the stop, and when they have lost their memory.
    static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(300);
    static readonly TimeSpan LastPatience = TimeSpan.FromSeconds(2);

    readonly List<KernelThread> threads = [];
    // Also those that have ended, while their host thread may still touch the machine.
    readonly List<KernelThread> hosted = [];
    readonly ConcurrentDictionary<ulong, KernelThread> threadsByObject = new();
    int lastThreadId;

    protected Scheduler(Machine machine) => Machine = machine;

    protected Machine Machine { get; }

    /// <summary>Guards the thread list, and whatever a derived scheduler puts under it.</summary>
    protected Lock Gate { get; } = new();

    /// <summary>Time since the machine started, 100 ns units: what KeQueryInterruptTime returns.</summary>
    public abstract long InterruptTime { get; }

    /// <summary>System time at start: 100 ns since 1601.</summary>
    public abstract long BootTime { get; }

    /// <summary>Grows whenever a thread passes a scheduling point; standing still for long means a driver loops.</summary>
    internal long Heartbeat;

    /// <summary>Threads that have not ended, oldest first.</summary>
    public IReadOnlyList<KernelThread> Threads
    {
        get { lock (Gate) return [.. threads]; }
    }

    protected List<KernelThread> LiveThreads => threads;

    /// <summary>The same for who looks at their objects: those stay although a thread ends meanwhile.</summary>
    internal ReferencedThreads ReferenceThreads()
    {
        lock (Gate)
        {
            // Each holds a reference to itself until it is off the list.
            foreach (KernelThread thread in threads) Machine.Objects.ObfReferenceObject(thread.Object);
            return new ReferencedThreads(Machine, [.. threads]);
        }
    }

    /// <summary>The thread with this KTHREAD, while it lives.</summary>
    internal KernelThread? FindThread(PKTHREAD thread) =>
        KernelThread.Current is { } current && current.Object == thread ? current : threadsByObject.GetValueOrDefault(thread.Address);

    /// <summary>Whether scheduling points at IRP operations and interlocked instructions matter: only a strategy that explores looks at them.</summary>
    public bool SwitchesAtIrps { get; protected init; }

    /// <summary>A C# driver is about to change memory in one interlocked operation, as compiled code does in one instruction.</summary>
    internal void BeforeInterlocked()
    {
        if (SwitchesAtIrps && Machine.TryGetCurrentThread() is { } thread) Yield(thread, SchedulingPoint.Interlocked);
    }

    /// <summary>
    /// Told what decides who can run, whenever it is looked at or changed: the address of a dispatcher object, or of the KTHREAD of a
    /// thread that is made ready. A search learns from it which steps have to do with each other.
    /// </summary>
    public Action<ulong>? Touched { get; set; }

    /// <summary>A point where another thread, DPC or interrupt may come first.</summary>
    public abstract void Yield(KernelThread thread, SchedulingPoint point);

    /// <summary>Lets others run while a spin lock is held elsewhere; the caller tries again afterwards.</summary>
    /// <param name="spinLock">Guest address of the lock.</param>
    /// <param name="mask">The bits of its lower half that stand for holders in the way: it can be had when they are 0.</param>
    internal abstract void Spin(KernelThread thread, ulong spinLock, uint mask = uint.MaxValue);

    protected static bool CanHaveLock(ulong spinLock, uint mask) => (Volatile.Read(ref GuestMemory.Ref<uint>(spinLock)) & mask) == 0;

    /// <summary>Suspends the calling thread until it is unblocked or the deadline has passed; may return early.</summary>
    /// <param name="deadline">Interrupt time, 100 ns; long.MaxValue for none.</param>
    internal abstract void Block(KernelThread thread, long deadline);

    /// <summary>Lets a blocked thread run again; remembered if it is not blocked yet.</summary>
    internal abstract void Unblock(KernelThread thread);

    /// <summary>Keeps the calling thread's processor busy for a time, 100 ns units; the others have their turn meanwhile.</summary>
    internal abstract void Stall(KernelThread thread, long duration);

    /// <summary>Lets the time of an instruction pass that takes long, 100 ns units.</summary>
    internal abstract void PassTime(KernelThread thread, long duration);

    /// <summary>Lets others have their turn after driver code ran for long without calling the kernel.</summary>
    /// <param name="ranFor">Time that it took on the virtual processor, 100 ns units.</param>
    public abstract void Preempt(KernelThread thread, long ranFor);

    /// <summary>Makes an interrupt happen at a time; one that is pending already is moved.</summary>
    public abstract void Schedule(Interrupt interrupt, long dueTime);

    /// <summary>Takes an interrupt back; false if it was not pending.</summary>
    public abstract bool Cancel(Interrupt interrupt);

    /// <summary>Runs work of the host (file I/O) on behalf of a device, then raises its interrupt.</summary>
    /// <param name="latency">Time that the device takes at least, 100 ns.</param>
    public abstract void StartDevice(long latency, Func<Task> operation, Interrupt whenDone);

    // System threads may wait for ever; time only matters to somebody who waits for a request.
    protected bool SomebodyWaits() => threads.Exists(thread => thread.Kind == ThreadKind.User && thread.State != SchedulerState.Exited);

    /// <summary>Whether it is a hang, and not idleness, that no thread can run.</summary>
    protected bool IsHung() => SomebodyWaits() && !threads.Exists(thread => thread.CanBeWokenFromOutside && thread.State != SchedulerState.Exited);

    protected string DescribeHang()
    {
        var text = new StringBuilder("No thread can run, and no timer or device will change that:");
        foreach (KernelThread thread in threads)
        {
            if (thread.State != SchedulerState.Exited) text.Append($" {thread} {thread.WaitReason ?? "is blocked"};");
        }
        text[^1] = '.';
        return text.ToString();
    }

    /// <summary>Called by the host, from outside, while nothing has moved for a second: stops the machine if nothing ever will.</summary>
    internal virtual void StopIfHung()
    {
    }

    /// <summary>Starts a guest thread.</summary>
    /// <exception cref="InsufficientMemoryException">The machine has no room for another thread.</exception>
    public KernelThread Start(string name, ThreadKind kind, Action body)
    {
        KernelThread thread = TryCreate(name, kind, kind == ThreadKind.User ? Machine.Processes.User : Machine.Processes.System)
            ?? throw new InsufficientMemoryException("This machine has no room for another thread.");
        Start(thread, body);
        return thread;
    }

    /// <summary>Makes a thread that does not run yet; null when the machine has no room for it.</summary>
    internal KernelThread? TryCreate(string name, ThreadKind kind, Process owner)
    {
        Machine.BugChecks.ThrowIfStopped();
        ulong area = Machine.Memory.ThreadAreas.Allocate(KernelThread.AreaSize, PageAccess.ReadWrite);
        if (area == 0) return null;
        lock (Gate)
        {
            var thread = new KernelThread(Machine, ++lastThreadId, name, kind, owner, area);
            threadsByObject[thread.Object.Address] = thread;
            return thread;
        }
    }

    /// <summary>Lets a new thread run.</summary>
    internal void Start(KernelThread thread, Action body)
    {
        lock (Gate)
        {
            threads.Add(thread);
            hosted.Add(thread);
        }
        Started(thread);
        HostThread.Start($"{Machine.Name} {thread}", () => Root(thread, body));
    }

    unsafe void Root(KernelThread thread, Action body)
    {
        byte top;
        thread.HostStackLimit = (nuint)(&top) - HostStackOfDrivers;
        KernelThread.Current = thread;
        try
        {
            Body(thread, body);
        }
        catch (Exception) when (Machine.BugChecks.StopReason is not null)
        {
            // The stop is recorded and reported to whoever waits; this thread only had to end.
        }
        finally
        {
            threadsByObject.TryRemove(thread.Object.Address, out _);
            // Still in the list: an interrupt may borrow it, and must find its way back.
            Ended(thread);
            lock (Gate) threads.Remove(thread);
            KernelThread.Current = null;
            (thread.GuestState as IDisposable)?.Dispose();
            Release(thread);
            lock (Gate) hosted.Remove(thread);
            thread.HostIsDone.Set();
        }
    }

    // The thread does not need its object any more. In a machine that has stopped nobody does.
    void Release(KernelThread thread)
    {
        if (Machine.BugChecks.StopReason is not null) return;
        try
        {
            Machine.Objects.ObfDereferenceObject(thread.Object);
        }
        catch (Exception e)
        {
            Machine.BugChecks.Convert(e);
        }
    }

    void Body(KernelThread thread, Action body)
    {
        try
        {
            Begin(thread);
            Machine.Events.Emit(new ThreadStarted(thread));
            Machine.NotifyRoutines.ThreadCreated(thread);
            body();
            Machine.ThreadExit(thread);
            Machine.Events.Emit(new ThreadEnded(thread));
            Machine.Dispatcher.Signal(new PDISPATCHER_HEADER(thread.Object.Address));
        }
        catch (Exception e) when (Report(e))
        {
            if (Machine.BugChecks.StopReason is null) Machine.BugChecks.Convert(e);
        }
    }

    // A filter, so that it runs before the stack is unwound and the report shows it. An exit unwind ends when all frames are left.
    bool Report(Exception exception)
    {
        if (exception is not UnwindException { IsExit: true }) Machine.BugChecks.Convert(exception);
        return true;
    }

    /// <summary>A thread was created and is ready.</summary>
    protected abstract void Started(KernelThread thread);

    /// <summary>Called on the new thread before its body: returns when it may run.</summary>
    protected abstract void Begin(KernelThread thread);

    /// <summary>Called on a thread at its very end.</summary>
    protected abstract void Ended(KernelThread thread);

    /// <summary>Wakes everything so that every thread notices the stop and ends.</summary>
    internal abstract void StopAll();

    /// <summary>An APC comes as soon as it may, not only where the thread waits; a compiled driver that spins is not inside a call.</summary>
    protected void DeliverApcs(KernelThread thread, SchedulingPoint point)
    {
        if (thread.Apcs.HasKernel && point != SchedulingPoint.Spin) Machine.Apcs.Deliver(thread);
    }

    /// <summary>Runs an interrupt handler on a thread's processor.</summary>
    protected void Deliver(KernelThread thread, Interrupt interrupt)
    {
        byte previous = thread.Irql;
        thread.Irql = Math.Max(interrupt.Irql, previous);
        thread.InterruptDepth++;
        try
        {
            interrupt.Handler();
        }
        finally
        {
            thread.InterruptDepth--;
            thread.Irql = previous;
        }
    }

    /// <summary>
    /// Waits for a thread of a stopped machine to end; false if it cannot be ended: C# code that neither calls the kernel nor touches
    /// the machine's memory.
    /// </summary>
    internal bool End(KernelThread thread)
    {
        if (thread.HostIsDone.Wait(thread.IsRunaway ? TimeSpan.Zero : Patience)) return true;
        if (thread.IsRunaway) return false;
        // C# code notices the stop where it calls the kernel. Code that loops without doing so is stopped by its next access to the
        // machine's memory. (.NET can abort threads, but on Unix that may end the process.)
        using (Machine.Memory.Withdraw()) thread.IsRunaway = !thread.HostIsDone.Wait(LastPatience);
        return !thread.IsRunaway;
    }

    /// <summary>Waits for all threads of a stopped machine to end; false if one cannot be ended.</summary>
    internal bool EndAll()
    {
        KernelThread[] remaining;
        lock (Gate) remaining = [.. hosted];
        bool ended = true;
        foreach (KernelThread thread in remaining)
        {
            if (thread != KernelThread.Current) ended &= End(thread);
        }
        return ended;
    }
}
