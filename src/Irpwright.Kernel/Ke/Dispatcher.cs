using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Events, and waits for dispatcher objects of all kinds.</summary>
/// <remarks>
/// The state is the drivers' own memory: DISPATCHER_HEADER.SignalState, and KWAIT_BLOCKs of the waiting threads linked
/// into WaitListHead.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/waits-and-apcs"/>
public sealed class Dispatcher
{
    // Where Windows 10 keeps the four built-in wait blocks in a KTHREAD.
    const ulong WaitBlockOffset = 0x140;

    readonly Machine machine;

    internal Dispatcher(Machine machine) => this.machine = machine;

    /// <summary>Guards the state of all dispatcher objects, and who waits for them.</summary>
    internal Lock Gate { get; } = new();

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

    /// <summary>
    /// Signals an event; returns its previous state. IRQL &lt;= DISPATCH_LEVEL, with <paramref name="Wait"/> TRUE &lt; DISPATCH_LEVEL.
    /// </summary>
    /// <param name="Increment">Priority increment of the threads that this wakes.</param>
    /// <param name="Wait">TRUE leaves the IRQL at DISPATCH_LEVEL until the KeWaitXxx call that must follow.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeSetEvent(PKEVENT Event, int Increment, BOOLEAN Wait)
    {
        machine.Events.Emit(new EventSet(Event, Increment));
        int previous = Signal(new PDISPATCHER_HEADER(Event.Address), Increment);
        AfterSignal(Wait);
        return previous;
    }

    /// <summary>
    /// Signals an event for those that wait now, and resets it; returns its previous state. IRQL &lt;= DISPATCH_LEVEL. A thread that
    /// an APC has interrupted does not wait at that moment.
    /// </summary>
    /// <inheritdoc cref="KeSetEvent"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KePulseEvent(PKEVENT Event, int Increment, BOOLEAN Wait)
    {
        machine.Events.Emit(new EventSet(Event, Increment));
        PDISPATCHER_HEADER header = new(Event.Address);
        int previous;
        lock (Gate)
        {
            previous = Signal(header, Increment);
            header.SignalState = 0;
        }
        AfterSignal(Wait);
        return previous;
    }

    /// <summary>Resets an event. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeClearEvent(PKEVENT Event)
    {
        machine.Scheduler.Touched?.Invoke(Event.Address);
        lock (Gate) new PDISPATCHER_HEADER(Event.Address).SignalState = 0;
    }

    /// <summary>Resets an event; returns its previous state. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeResetEvent(PKEVENT Event)
    {
        machine.Scheduler.Touched?.Invoke(Event.Address);
        lock (Gate)
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
        machine.Scheduler.Touched?.Invoke(Event.Address);
        lock (Gate) return new PDISPATCHER_HEADER(Event.Address).SignalState;
    }

    /// <summary>Waits for a dispatcher object. IRQL &lt;= APC_LEVEL, or DISPATCH_LEVEL with a zero timeout.</summary>
    /// <param name="WaitMode">UserMode lets user APCs end the wait if it is alertable.</param>
    /// <param name="Alertable">Lets alerts and user APCs end the wait.</param>
    /// <param name="Timeout">100 ns units: negative = relative, positive = system time, 0 = do not wait, null = for ever.</param>
    /// <returns>STATUS_SUCCESS, STATUS_ABANDONED, STATUS_TIMEOUT, STATUS_ALERTED or STATUS_USER_APC.</returns>
    /// <exception cref="BugCheckException">0xB8 when it would have to wait at DISPATCH_LEVEL or above.</exception>
    /// <exception cref="NtStatusException">STATUS_MUTANT_LIMIT_EXCEEDED.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Alert)]
    public NTSTATUS KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, MODE WaitMode, BOOLEAN Alertable, long? Timeout) =>
        Wait(new ReadOnlySpan<PVOID>(in Object), WAIT_TYPE.WaitAny, WaitMode, Alertable, Timeout, default);

    /// <summary>
    /// Waits for one of several dispatcher objects, or until all of them can be had at once. IRQL &lt;= APC_LEVEL, or DISPATCH_LEVEL
    /// with a zero timeout.
    /// </summary>
    /// <param name="Object">Pointer to <paramref name="Count"/> object pointers.</param>
    /// <param name="WaitBlockArray">Memory for <paramref name="Count"/> wait blocks; may be null for up to THREAD_WAIT_OBJECTS objects.</param>
    /// <returns>
    /// For WaitAny STATUS_WAIT_0 (or STATUS_ABANDONED_WAIT_0) plus the object's index, for WaitAll STATUS_SUCCESS (or
    /// STATUS_ABANDONED); else as KeWaitForSingleObject.
    /// </returns>
    /// <exception cref="BugCheckException">MAXIMUM_WAIT_OBJECTS_EXCEEDED, or 0xB8 as above.</exception>
    /// <inheritdoc cref="KeWaitForSingleObject"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Alert)]
    public NTSTATUS KeWaitForMultipleObjects(uint Count, PPVOID Object, WAIT_TYPE WaitType, KWAIT_REASON WaitReason, MODE WaitMode,
        BOOLEAN Alertable, long? Timeout, PKWAIT_BLOCK WaitBlockArray)
    {
        Span<PVOID> objects = stackalloc PVOID[MAXIMUM_WAIT_OBJECTS];
        for (int i = 0; i < Math.Min(Count, MAXIMUM_WAIT_OBJECTS); i++) objects[i] = Object[i];
        return KeWaitForMultipleObjects(Count, objects, WaitType, WaitReason, WaitMode, Alertable, Timeout, WaitBlockArray);
    }

    /// <summary>The same for C# drivers, whose array needs no guest memory.</summary>
    /// <inheritdoc cref="KeWaitForMultipleObjects(uint, PPVOID, WAIT_TYPE, KWAIT_REASON, MODE, BOOLEAN, long?, PKWAIT_BLOCK)"/>
    [WdkInline]
    public NTSTATUS KeWaitForMultipleObjects(uint Count, ReadOnlySpan<PVOID> Object, WAIT_TYPE WaitType, KWAIT_REASON WaitReason,
        MODE WaitMode, BOOLEAN Alertable, long? Timeout, PKWAIT_BLOCK WaitBlockArray)
    {
        if (Count > (WaitBlockArray.IsNull ? THREAD_WAIT_OBJECTS : MAXIMUM_WAIT_OBJECTS))
        {
            throw machine.BugChecks.Stop(BugCheckCode.MAXIMUM_WAIT_OBJECTS_EXCEEDED, 0, 0, 0, 0,
                $"A thread waits for {Count} objects; with a wait block array {MAXIMUM_WAIT_OBJECTS} are allowed, without {THREAD_WAIT_OBJECTS}.");
        }
        return Wait(Object[..(int)Count], WaitType, WaitMode, Alertable, Timeout, WaitBlockArray);
    }

    /// <summary>Lets the calling thread sleep. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Interval">100 ns units: negative = relative, positive = system time.</param>
    /// <returns>STATUS_SUCCESS when the time is over, STATUS_ALERTED or STATUS_USER_APC.</returns>
    /// <exception cref="BugCheckException">0xB8 at DISPATCH_LEVEL or above.</exception>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Alert)]
    public NTSTATUS KeDelayExecutionThread(MODE WaitMode, BOOLEAN Alertable, in LARGE_INTEGER Interval)
    {
        RequireWaitAllowed(machine.CurrentThread);
        NTSTATUS status = Wait([], WAIT_TYPE.WaitAny, WaitMode, Alertable, Interval, default);
        return status == NTSTATUS.STATUS_TIMEOUT ? NTSTATUS.STATUS_SUCCESS : status;
    }

    long DeadlineOf(long timeout) => timeout < 0 ? machine.Scheduler.InterruptTime - timeout : timeout - machine.Scheduler.BootTime;

    void RequireWaitAllowed(KernelThread thread)
    {
        if (thread.Irql < DISPATCH_LEVEL) return;
        throw machine.BugChecks.Stop(BugCheckCode.ATTEMPTED_SWITCH_FROM_DPC, thread.Object.Address, 0, 0, 0,
            $"A thread would have to wait at IRQL {thread.Irql}; waiting is allowed below DISPATCH_LEVEL only.");
    }

    /// <summary>Waits for the kernel itself, without a limit.</summary>
    /// <param name="description">Says what the thread waits for, should it never end.</param>
    internal void Wait(PKEVENT target, Func<string> description)
    {
        PVOID header = target;
        Wait(new ReadOnlySpan<PVOID>(in header), WAIT_TYPE.WaitAny, MODE.KernelMode, false, null, default, description);
    }

    NTSTATUS Wait(ReadOnlySpan<PVOID> objects, WAIT_TYPE type, MODE mode, bool alertable, long? timeout, PKWAIT_BLOCK blocks, Func<string>? description = null)
    {
        KernelThread thread = machine.CurrentThread;
        if (thread.IrqlBeforeWait is { } irql)
        {
            thread.IrqlBeforeWait = null;
            thread.Irql = irql;
        }
        foreach (PVOID target in objects) machine.Events.Emit(new WaitStarted(thread, target, MayBlock: timeout != 0));
        machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        long deadline = timeout is { } time ? DeadlineOf(time) : long.MaxValue;
        if (blocks.IsNull) blocks = new PKWAIT_BLOCK(thread.Object.Address + WaitBlockOffset);
        NTSTATUS? status = null;
        while (status is null)
        {
            machine.Apcs.Deliver(thread);
            lock (Gate)
            {
                status = TrySatisfy(thread, objects, type) ?? Interruption(thread, mode, alertable);
                if (status is null && (timeout == 0 || machine.Scheduler.InterruptTime >= deadline)) status = NTSTATUS.STATUS_TIMEOUT;
                if (status is not null) break;
                RequireWaitAllowed(thread);
                thread.Wait = new ObjectWait { Blocks = blocks, Count = objects.Length, Type = type, Mode = mode, Alertable = alertable, IsActive = true, Description = description };
                Link(thread, objects);
            }
            status = Block(thread, deadline);
        }
        foreach (PVOID target in objects) machine.Events.Emit(new WaitEnded(thread, target, status.Value));
        return status.Value;
    }

    /// <returns>Null when an APC interrupts the wait: it may wait itself, so this wait leaves the queues and starts anew.</returns>
    NTSTATUS? Block(KernelThread thread, long deadline)
    {
        while (true)
        {
            machine.Scheduler.Block(thread, deadline);
            lock (Gate)
            {
                if (!thread.Wait.IsActive) return thread.Wait.Status;
                bool timedOut = machine.Scheduler.InterruptTime >= deadline;
                if (!timedOut && !Apcs.HasDeliverable(thread)) continue;
                Unlink(thread);
                return timedOut ? NTSTATUS.STATUS_TIMEOUT : null;
            }
        }
    }

    static void Link(KernelThread thread, ReadOnlySpan<PVOID> objects)
    {
        for (int i = 0; i < objects.Length; i++)
        {
            PKWAIT_BLOCK block = thread.Wait.Block(i);
            block.WaitType = (byte)thread.Wait.Type;
            block.WaitKey = (ushort)i;
            block.Thread = thread.Object;
            block.Object = objects[i];
            Lists.InsertTail(WaitersOf(new PDISPATCHER_HEADER(objects[i].Address)), new PLIST_ENTRY(block.Address));
        }
    }

    static void Unlink(KernelThread thread)
    {
        for (int i = 0; i < thread.Wait.Count; i++) Lists.Remove(new PLIST_ENTRY(thread.Wait.Block(i).Address));
        thread.Wait.IsActive = false;
    }

    /// <summary>Ends a thread's wait.</summary>
    void End(KernelThread thread, NTSTATUS status, int increment)
    {
        Unlink(thread);
        thread.Wait.Status = status;
        thread.PriorityIncrement = increment;
        machine.Scheduler.Unblock(thread);
    }

    /// <summary>Why an alertable wait, or one for user mode, does not begin; null if nothing is in its way.</summary>
    static NTSTATUS? Interruption(KernelThread thread, MODE mode, bool alertable)
    {
        if (thread.InterruptDepth != 0) return null;
        ApcQueue apcs = thread.Apcs;
        if (!alertable) return mode == MODE.UserMode && apcs.UserPending ? NTSTATUS.STATUS_USER_APC : null;
        if (TakeAlert(apcs, mode)) return NTSTATUS.STATUS_ALERTED;
        if (mode == MODE.UserMode && apcs.HasUser)
        {
            apcs.UserPending = true;
            return NTSTATUS.STATUS_USER_APC;
        }
        return TakeAlert(apcs, MODE.KernelMode) ? NTSTATUS.STATUS_ALERTED : null;
    }

    static bool TakeAlert(ApcQueue apcs, MODE mode)
    {
        bool alerted = apcs.Alerted[(int)mode];
        apcs.Alerted[(int)mode] = false;
        return alerted;
    }

    /// <returns>Whether the thread was alerted already.</returns>
    internal bool Alert(KernelThread thread, MODE mode)
    {
        lock (Gate)
        {
            ref bool alerted = ref thread.Apcs.Alerted[(int)mode];
            if (alerted) return true;
            if (thread.Wait is { IsActive: true, Alertable: true } && mode <= thread.Wait.Mode) End(thread, NTSTATUS.STATUS_ALERTED, 0);
            else alerted = true;
            return false;
        }
    }

    internal bool TestAlert(KernelThread thread, MODE mode)
    {
        lock (Gate)
        {
            if (TakeAlert(thread.Apcs, mode)) return true;
            if (mode == MODE.UserMode && thread.Apcs.HasUser) thread.Apcs.UserPending = true;
            return false;
        }
    }

    /// <summary>A user APC was queued: an alertable wait ends; if it is one for user mode, the APC runs on the way back there.</summary>
    /// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/waits-and-apcs"/>
    internal void EndAlertableWait(KernelThread thread, int increment)
    {
        lock (Gate)
        {
            if (thread.Wait is not { IsActive: true, Alertable: true }) return;
            if (thread.Wait.Mode == MODE.UserMode) thread.Apcs.UserPending = true;
            End(thread, NTSTATUS.STATUS_USER_APC, increment);
        }
    }

    /// <summary>Waits until a host-side condition holds; the thread that makes it true unblocks this one.</summary>
    internal void WaitUntil(KernelThread thread, Func<bool> condition, string reason) => WaitUntil(thread, condition, () => reason);

    /// <param name="description">Says what the thread waits for, should it never end.</param>
    /// <inheritdoc cref="WaitUntil(KernelThread, Func{bool}, string)"/>
    internal void WaitUntil(KernelThread thread, Func<bool> condition, Func<string> description)
    {
        Func<string>? outer = thread.Description;
        thread.Description = description;
        machine.Apcs.Deliver(thread);
        while (!condition())
        {
            machine.Scheduler.Block(thread, long.MaxValue);
            machine.Apcs.Deliver(thread);
        }
        thread.Description = outer;
    }

    /// <summary>Makes an object signalled and wakes who waits for it; returns its previous state.</summary>
    internal int Signal(PDISPATCHER_HEADER header, int increment = 0)
    {
        machine.Scheduler.Touched?.Invoke(header.Address);
        lock (Gate)
        {
            int previous = header.SignalState;
            header.SignalState = 1;
            SatisfyWaits(header, increment);
            return previous;
        }
    }

    /// <summary>Adds to an object that counts, and wakes as many who wait for it.</summary>
    internal int Release(PDISPATCHER_HEADER header, int count)
    {
        machine.Scheduler.Touched?.Invoke(header.Address);
        lock (Gate)
        {
            int previous = header.SignalState;
            header.SignalState += count;
            SatisfyWaits(header, 0);
            return previous;
        }
    }

    /// <summary>Ends the waits that an object's state allows to end, first come, first served.</summary>
    internal void SatisfyWaits(PDISPATCHER_HEADER header, int increment)
    {
        PLIST_ENTRY head = WaitersOf(header);
        Span<PVOID> objects = stackalloc PVOID[MAXIMUM_WAIT_OBJECTS];
        for (PLIST_ENTRY entry = head.Flink; header.SignalState > 0 && entry != head;)
        {
            KernelThread waiter = WaiterOf(header, new PKWAIT_BLOCK(entry.Address));
            for (int i = 0; i < waiter.Wait.Count; i++) objects[i] = waiter.Wait.Block(i).Object;
            if (TrySatisfy(waiter, objects[..waiter.Wait.Count], waiter.Wait.Type) is { } status)
            {
                End(waiter, status, increment);
                entry = head.Flink;
            }
            else
            {
                entry = entry.Flink;
            }
        }
    }

    KernelThread WaiterOf(PDISPATCHER_HEADER header, PKWAIT_BLOCK block)
    {
        if (machine.Scheduler.FindThread(block.Thread) is { Wait.IsActive: true } waiter) return waiter;
        throw machine.BugChecks.Stop(BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, 3, 0, 0, 0,
            $"The list of waiting threads in the object at {Format.Address(header.Address)} is corrupt: the object was overwritten or freed while a thread waits for it.");
    }

    /// <summary>What every routine that signals an object ends with.</summary>
    /// <param name="wait">Its caller waits next: it goes on at DISPATCH_LEVEL until then, and nobody comes in between.</param>
    internal void AfterSignal(bool wait)
    {
        if (machine.TryGetCurrentThread() is not { } thread) return;
        if (wait)
        {
            thread.IrqlBeforeWait = thread.Irql;
            thread.Irql = DISPATCH_LEVEL;
        }
        else
        {
            machine.Scheduler.Yield(thread, SchedulingPoint.Wake);
        }
    }

    /// <summary>Takes the objects for a thread if their states allow it, and returns the status of its wait; else null.</summary>
    static NTSTATUS? TrySatisfy(KernelThread thread, ReadOnlySpan<PVOID> objects, WAIT_TYPE type)
    {
        bool abandoned = false;
        for (int i = 0; i < objects.Length; i++)
        {
            bool available = CanTake(new PDISPATCHER_HEADER(objects[i].Address), thread);
            if (type == WAIT_TYPE.WaitAny && available)
            {
                abandoned = Take(new PDISPATCHER_HEADER(objects[i].Address), thread);
                return (abandoned ? NTSTATUS.STATUS_ABANDONED_WAIT_0 : NTSTATUS.STATUS_WAIT_0) + i;
            }
            if (type == WAIT_TYPE.WaitAll && !available) return null;
        }
        if (type == WAIT_TYPE.WaitAny) return null;
        foreach (PVOID target in objects) abandoned |= Take(new PDISPATCHER_HEADER(target.Address), thread);
        return abandoned ? NTSTATUS.STATUS_ABANDONED : NTSTATUS.STATUS_SUCCESS;
    }

    static bool CanTake(PDISPATCHER_HEADER header, KernelThread thread) =>
        header.Type == KOBJECTS.MutantObject ? Mutexes.CanAcquire(new PKMUTANT(header.Address), thread) : header.SignalState > 0;

    /// <returns>True for a mutant that its last owner abandoned.</returns>
    static bool Take(PDISPATCHER_HEADER header, KernelThread thread)
    {
        switch (header.Type)
        {
            case KOBJECTS.MutantObject:
                return Mutexes.Acquire(new PKMUTANT(header.Address), thread);
            case KOBJECTS.EventSynchronizationObject or KOBJECTS.TimerSynchronizationObject or KOBJECTS.GateObject:
                header.SignalState = 0;
                break;
            case KOBJECTS.SemaphoreObject or KOBJECTS.QueueObject:
                header.SignalState--;
                break;
        }
        return false;
    }

    static PLIST_ENTRY WaitersOf(PDISPATCHER_HEADER header) => new(header.Address + 8);

    // ---- Reports

    /// <summary>What a thread waits for, in words; null while it does not.</summary>
    internal string? Describe(KernelThread thread)
    {
        ObjectWait wait = thread.Wait;
        if (!wait.IsActive) return thread.Description?.Invoke();
        string? apcs = Apcs.Describe(thread);
        string what = wait.Description?.Invoke() ?? wait.Count switch
        {
            0 => "sleeps",
            1 => $"waits for {DescribeObject(wait.Block(0).Object)}",
            _ => $"waits for {(wait.Type == WAIT_TYPE.WaitAny ? "any" : "all")} of "
                + string.Join(" and ", Enumerable.Range(0, wait.Count).Select(i => DescribeObject(wait.Block(i).Object))),
        };
        return apcs is null ? what : $"{what} and {apcs}";
    }

    string DescribeObject(PVOID target)
    {
        if (!GuestMemory.IsAccessible(target.Address, DISPATCHER_HEADER.SizeOf, PageAccess.Read)) return $"the object at {target}";
        switch (new PDISPATCHER_HEADER(target.Address).Type)
        {
            case KOBJECTS.EventNotificationObject or KOBJECTS.EventSynchronizationObject:
                return $"the event at {target}";
            case KOBJECTS.TimerNotificationObject or KOBJECTS.TimerSynchronizationObject:
                return $"the timer at {target}";
            case KOBJECTS.QueueObject:
                return $"the queue at {target}";
            case KOBJECTS.SemaphoreObject:
                return $"the semaphore at {target}";
            case KOBJECTS.MutantObject:
                return $"the mutex at {target}, which {DescribeOwner(new PKMUTANT(target.Address).OwnerThread)} owns";
            case KOBJECTS.ThreadObject:
                return $"the end of {DescribeOwner(new PKTHREAD(target.Address))}";
            default:
                return $"the object at {target}";
        }
    }

    /// <summary>A thread in words: its name while it lives.</summary>
    internal string DescribeOwner(PKTHREAD thread) =>
        machine.Scheduler.FindThread(thread)?.ToString() ?? (thread.IsNull ? "nobody" : $"the thread at {thread}, which has ended,");
}

/// <summary>A thread's wait for dispatcher objects; its wait blocks are linked into theirs.</summary>
struct ObjectWait
{
    internal PKWAIT_BLOCK Blocks;
    internal int Count;
    internal WAIT_TYPE Type;
    internal MODE Mode;
    internal bool Alertable;

    /// <summary>False before the wait, and from the moment at which somebody has ended it with <see cref="Status"/>.</summary>
    internal bool IsActive;
    internal NTSTATUS Status;
    internal Func<string>? Description;

    internal readonly PKWAIT_BLOCK Block(int index) => new(Blocks.Address + (ulong)index * KWAIT_BLOCK.SizeOf);
}
