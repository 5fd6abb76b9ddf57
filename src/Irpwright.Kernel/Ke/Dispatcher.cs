using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Dispatcher objects and waits for them: events, timers, threads.</summary>
/// <remarks>
/// The state is the drivers' own memory: DISPATCHER_HEADER.SignalState, and KWAIT_BLOCKs of the waiting threads linked
/// into WaitListHead.
/// </remarks>
public sealed class Dispatcher
{
    // Where Windows 10 keeps the four built-in wait blocks in a KTHREAD.
    const ulong WaitBlockOffset = 0x140;

    readonly Machine machine;
    readonly Lock gate = new();

    internal Dispatcher(Machine machine) => this.machine = machine;

    /// <summary>Prepares an event object. Any IRQL.</summary>
    [KernelExport]
    public void KeInitializeEvent(PKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
    {
        InitializeHeader(new PDISPATCHER_HEADER(Event.Address), (byte)Type, KEVENT.SizeOf, State ? 1 : 0);
    }

    internal static void InitializeHeader(PDISPATCHER_HEADER header, byte type, int size, int signalState)
    {
        header.Type = (KOBJECTS)type;
        header.Signalling = 0;
        header.Size = (byte)(size / 4);
        header.SignalState = signalState;
        Lists.Initialize(WaitersOf(header));
    }

    /// <summary>Signals an event; returns its previous state. IRQL &lt;= DISPATCH_LEVEL, with <paramref name="Wait"/> TRUE &lt; DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeSetEvent(PKEVENT Event, int Increment, BOOLEAN Wait)
    {
        machine.Events.Emit(new EventSet(Event));
        int previous = Signal(new PDISPATCHER_HEADER(Event.Address));
        if (machine.TryGetCurrentThread() is { } thread) machine.Scheduler.Yield(thread, SchedulingPoint.Wake);
        return previous;
    }

    /// <summary>Resets an event. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeClearEvent(PKEVENT Event)
    {
        lock (gate) new PDISPATCHER_HEADER(Event.Address).SignalState = 0;
    }

    /// <summary>Resets an event; returns its previous state. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeResetEvent(PKEVENT Event)
    {
        lock (gate)
        {
            PDISPATCHER_HEADER header = new(Event.Address);
            int previous = header.SignalState;
            header.SignalState = 0;
            return previous;
        }
    }

    /// <summary>Returns an event's state, non-zero when signalled. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeReadStateEvent(PKEVENT Event)
    {
        lock (gate) return new PDISPATCHER_HEADER(Event.Address).SignalState;
    }

    /// <summary>Waits for a dispatcher object. IRQL &lt;= APC_LEVEL, or DISPATCH_LEVEL with a zero timeout.</summary>
    /// <param name="Timeout">100 ns units: negative = relative, positive = system time, 0 = do not wait, null = for ever.</param>
    /// <returns>STATUS_SUCCESS or STATUS_TIMEOUT.</returns>
    /// <exception cref="BugCheckException">0xB8 when it would have to wait at DISPATCH_LEVEL or above.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, MODE WaitMode, BOOLEAN Alertable, long? Timeout)
    {
        KernelThread thread = machine.CurrentThread;
        PDISPATCHER_HEADER header = new(Object.Address);
        machine.Events.Emit(new WaitStarted(thread, Object, MayBlock: Timeout != 0));
        NTSTATUS status = Wait(thread, header, Timeout);
        machine.Events.Emit(new WaitEnded(thread, Object, status));
        return status;
    }

    /// <summary>Lets the calling thread sleep. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Interval">100 ns units: negative = relative, positive = system time.</param>
    /// <exception cref="BugCheckException">0xB8 at DISPATCH_LEVEL or above.</exception>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS KeDelayExecutionThread(MODE WaitMode, BOOLEAN Alertable, in LARGE_INTEGER Interval)
    {
        KernelThread thread = machine.CurrentThread;
        RequireWaitAllowed(thread);
        long deadline = DeadlineOf(Interval);
        thread.WaitReason = "sleeps";
        do
        {
            DeliverApcs(thread);
            machine.Scheduler.Block(thread, deadline);
        }
        while (machine.Scheduler.InterruptTime < deadline);
        thread.WaitReason = null;
        DeliverApcs(thread);
        return NTSTATUS.STATUS_SUCCESS;
    }

    long DeadlineOf(long timeout) => timeout < 0 ? machine.Scheduler.InterruptTime - timeout : timeout - machine.Scheduler.BootTime;

    void RequireWaitAllowed(KernelThread thread)
    {
        if (thread.Irql < DISPATCH_LEVEL) return;
        throw machine.BugChecks.Stop(BugCheckCode.ATTEMPTED_SWITCH_FROM_DPC, thread.Object.Address, 0, 0, 0,
            $"A thread would have to wait at IRQL {thread.Irql}; waiting is allowed below DISPATCH_LEVEL only.");
    }

    NTSTATUS Wait(KernelThread thread, PDISPATCHER_HEADER header, long? timeout)
    {
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        long deadline = timeout is { } time ? DeadlineOf(time) : long.MaxValue;
        PLIST_ENTRY entry = new(thread.Object.Address + WaitBlockOffset);
        while (true)
        {
            DeliverApcs(thread);
            lock (gate)
            {
                if (TryAcquire(header, thread)) return NTSTATUS.STATUS_SUCCESS;
                if (timeout == 0 || machine.Scheduler.InterruptTime >= deadline) return NTSTATUS.STATUS_TIMEOUT;
                RequireWaitAllowed(thread);
                thread.WaitSatisfied = false;
                thread.WaitReason = $"waits for the object at {Format.Address(header.Address)}";
                PKWAIT_BLOCK block = new(entry.Address);
                block.Thread = thread.Object;
                block.Object = new PVOID(header.Address);
                Lists.InsertTail(WaitersOf(header), entry);
            }
            if (BlockUntilSatisfied(thread, entry, deadline) is { } status) return status;
        }
    }

    /// <returns>Null when an APC interrupts the wait: it may wait itself, so this wait leaves the queue and starts anew.</returns>
    NTSTATUS? BlockUntilSatisfied(KernelThread thread, PLIST_ENTRY entry, long deadline)
    {
        try
        {
            while (true)
            {
                machine.Scheduler.Block(thread, deadline);
                lock (gate)
                {
                    if (thread.WaitSatisfied) return NTSTATUS.STATUS_SUCCESS;
                    bool timedOut = machine.Scheduler.InterruptTime >= deadline;
                    if (!timedOut && (thread.Apcs.Count == 0 || !CanDeliverApc(thread))) continue;
                    Lists.Remove(entry);
                    return timedOut ? NTSTATUS.STATUS_TIMEOUT : null;
                }
            }
        }
        finally
        {
            thread.WaitReason = null;
        }
    }

    /// <summary>Waits until a host-side condition holds; the thread that makes it true unblocks this one.</summary>
    internal void WaitUntil(KernelThread thread, Func<bool> condition, string reason)
    {
        thread.WaitReason = reason;
        DeliverApcs(thread);
        while (!condition())
        {
            machine.Scheduler.Block(thread, long.MaxValue);
            DeliverApcs(thread);
        }
        thread.WaitReason = null;
    }

    /// <summary>Prepares a mutex that nobody owns. Any IRQL. <paramref name="Level"/> is reserved, 0.</summary>
    [KernelExport]
    public void KeInitializeMutex(PKMUTANT Mutex, uint Level)
    {
        Mutex.Value = default;
        InitializeHeader(new PDISPATCHER_HEADER(Mutex.Address), (byte)KOBJECTS.MutantObject, KMUTANT.SizeOf, 1);
        Mutex.ApcDisable = 1;
    }

    /// <summary>Gives a mutex up once; the last of nested acquisitions frees it. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The previous signal state: 0 if this call freed the mutex.</returns>
    /// <exception cref="NtStatusException">STATUS_MUTANT_NOT_OWNED when another thread owns it, or none.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeReleaseMutex(PKMUTANT Mutex, BOOLEAN Wait)
    {
        PDISPATCHER_HEADER header = new(Mutex.Address);
        int previous;
        lock (gate)
        {
            if (Mutex.OwnerThread != machine.CurrentThread.Object) throw new NtStatusException(NTSTATUS.STATUS_MUTANT_NOT_OWNED);
            previous = header.SignalState;
            if (previous < 0) header.SignalState++;
            else Mutex.OwnerThread = default;
        }
        if (previous == 0) Signal(header);
        return previous;
    }

    /// <summary>TRUE when the thread cannot be interrupted even by special kernel APCs: at APC_LEVEL and above. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeAreAllApcsDisabled() => machine.CurrentThread.Irql >= APC_LEVEL;

    /// <summary>Makes an object signalled and wakes who waits for it.</summary>
    internal int Signal(PDISPATCHER_HEADER header)
    {
        lock (gate)
        {
            int previous = header.SignalState;
            header.SignalState = 1;
            Wake(header);
            return previous;
        }
    }

    /// <summary>Adds to an object that counts, and wakes as many who wait for it.</summary>
    internal int Release(PDISPATCHER_HEADER header, int count)
    {
        lock (gate)
        {
            int previous = header.SignalState;
            header.SignalState += count;
            Wake(header);
            return previous;
        }
    }

    void Wake(PDISPATCHER_HEADER header)
    {
        PLIST_ENTRY head = WaitersOf(header);
        while (header.SignalState > 0 && !Lists.IsEmpty(head))
        {
            PLIST_ENTRY entry = head.Flink;
            PKWAIT_BLOCK block = new(entry.Address);
            if (machine.Scheduler.FindThread(block.Thread) is not { } waiter)
            {
                throw machine.BugChecks.Stop(BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, 3, 0, 0, 0,
                    $"The list of waiting threads in the object at {Format.Address(header.Address)} is corrupt: the object was overwritten or freed while a thread waits for it.");
            }
            Lists.Remove(entry);
            TryAcquire(header, waiter);
            waiter.WaitSatisfied = true;
            machine.Scheduler.Unblock(waiter);
        }
    }

    /// <summary>Finishes an IRP in its thread by special kernel APC: as soon as the thread is below APC_LEVEL.</summary>
    internal void QueueApc(KernelThread thread, PIRP irp)
    {
        if (thread == machine.TryGetCurrentThread() && CanDeliverApc(thread))
        {
            machine.Completion.FinishInThread(thread, irp);
            return;
        }
        lock (thread.Apcs) thread.Apcs.Enqueue(irp);
        machine.Scheduler.Unblock(thread);
    }

    /// <summary>Runs the APCs that wait for this thread, if its IRQL allows.</summary>
    internal void DeliverApcs(KernelThread thread)
    {
        while (thread.Apcs.Count > 0 && CanDeliverApc(thread))
        {
            PIRP irp;
            lock (thread.Apcs)
            {
                if (!thread.Apcs.TryDequeue(out irp)) return;
            }
            machine.Completion.FinishInThread(thread, irp);
        }
    }

    static bool CanDeliverApc(KernelThread thread) => thread.Irql < APC_LEVEL && thread.InterruptDepth == 0;

    static bool TryAcquire(PDISPATCHER_HEADER header, KernelThread thread)
    {
        if (header.Type == KOBJECTS.MutantObject) return TryAcquireMutex(new PKMUTANT(header.Address), header, thread);
        if (header.SignalState <= 0) return false;
        if (header.Type is KOBJECTS.EventSynchronizationObject or KOBJECTS.TimerSynchronizationObject) header.SignalState = 0;
        else if (header.Type == KOBJECTS.QueueObject) header.SignalState--;
        return true;
    }

    static bool TryAcquireMutex(PKMUTANT mutex, PDISPATCHER_HEADER header, KernelThread thread)
    {
        if (header.SignalState <= 0 && mutex.OwnerThread != thread.Object) return false;
        header.SignalState--;
        mutex.OwnerThread = thread.Object;
        return true;
    }

    static PLIST_ENTRY WaitersOf(PDISPATCHER_HEADER header) => new(header.Address + 8);
}
