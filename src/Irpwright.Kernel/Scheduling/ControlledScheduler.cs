using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Guest threads pass one baton: exactly one runs, and a strategy decides at each scheduling point who is next. Time is
/// virtual. The same strategy decisions give the same run.
/// </summary>
public sealed class ControlledScheduler : Scheduler
{
    // 2026-01-01 00:00 UTC, so that what drivers print of the system time repeats.
    const long FixedBootTime = 134_116_992_000_000_000;

    readonly IScheduleStrategy strategy;
    readonly List<Interrupt> interrupts = [];
    readonly List<ScheduleChoice> choices = [];
    KernelThread? running;
    KernelThread? resting;
    bool isNearlyAtRest;
    ulong lastReadySequence;
    long lastInterruptSequence;
    long now;
    int readyCount;

    internal ControlledScheduler(Machine machine, IScheduleStrategy strategy) : base(machine)
    {
        this.strategy = strategy;
        SwitchesAtIrps = strategy is not FifoStrategy;
    }

    public override long InterruptTime => now;

    public override long BootTime => FixedBootTime;

    public override void Yield(KernelThread thread, SchedulingPoint point)
    {
        Heartbeat++;
        Machine.BugChecks.ThrowIfStopped();
        if (Volatile.Read(ref readyCount) != 0 || Machine.Dpcs.PendingCount != 0 || InterruptWanted(point))
        {
            lock (Gate) MakeReady(thread);
            Drive(thread, point);
        }
        DeliverApcs(thread, point);
    }

    bool InterruptWanted(SchedulingPoint point) =>
        interrupts.Count > 0 && (strategy.MovesTimeEarly || point == SchedulingPoint.Spin || interrupts[0].DueTime <= now);

    internal override void Spin(KernelThread thread, ulong spinLock, uint mask)
    {
        Heartbeat++;
        Machine.BugChecks.ThrowIfStopped();
        thread.SpinningOn = spinLock;
        thread.SpinMask = mask;
        thread.Reason = $"spins on the lock at {Format.Address(spinLock)}";
        lock (Gate) MakeReady(thread);
        Drive(thread, SchedulingPoint.Spin);
        thread.SpinningOn = 0;
        thread.Reason = null;
    }

    internal override void Block(KernelThread thread, long deadline)
    {
        Heartbeat++;
        Machine.BugChecks.ThrowIfStopped();
        lock (Gate)
        {
            if (thread.Permit)
            {
                thread.Permit = false;
                return;
            }
            thread.Deadline = deadline;
            thread.State = SchedulerState.Blocked;
        }
        Drive(thread, SchedulingPoint.Wait);
        lock (Gate)
        {
            thread.Deadline = long.MaxValue;
            thread.Permit = false;
        }
    }

    /// <summary>
    /// Lets everything else come to its end: waits until the current thread is the last user thread, and no other thread, DPC or
    /// interrupt can run without time moving on.
    /// </summary>
    /// <exception cref="MachineHungException">Another user thread waits for ever.</exception>
    public void RunToRest()
    {
        KernelThread thread = Machine.CurrentThread;
        resting = thread;
        thread.Reason = "waits for the other threads to end";
        while (OthersAreAtWork(thread)) Block(thread, long.MaxValue);
        lock (Gate)
        {
            isNearlyAtRest = true;
            thread.State = SchedulerState.Blocked;
        }
        Drive(thread, SchedulingPoint.Wait);
        isNearlyAtRest = false;
        resting = null;
        thread.Reason = null;
    }

    bool OthersAreAtWork(KernelThread thread)
    {
        lock (Gate) return LiveThreads.Exists(other => other != thread && other.Kind == ThreadKind.User && other.State != SchedulerState.Exited);
    }

    internal override void Unblock(KernelThread thread)
    {
        Touched?.Invoke(thread.Object.Address);
        lock (Gate)
        {
            thread.Permit = true;
            if (thread.State == SchedulerState.Blocked) MakeReady(thread);
        }
    }

    internal override void Stall(KernelThread thread, long duration)
    {
        MoveTime(now + duration);
        Yield(thread, SchedulingPoint.Spin);
    }

    internal override void PassTime(KernelThread thread, long duration)
    {
        MoveTime(now + duration);
        Yield(thread, SchedulingPoint.Call);
    }

    public override void Preempt(KernelThread thread, long ranFor)
    {
        MoveTime(now + ranFor);
        Yield(thread, SchedulingPoint.Spin);
    }

    void MoveTime(long time)
    {
        if (time <= now) return;
        now = time;
        Machine.Time.Refresh();
    }

    public override void Schedule(Interrupt interrupt, long dueTime)
    {
        lock (Gate)
        {
            if (interrupt.IsPending) interrupts.Remove(interrupt);
            interrupt.DueTime = Math.Max(dueTime, now);
            interrupt.Sequence = ++lastInterruptSequence;
            interrupt.IsPending = true;
            int i = interrupts.Count;
            while (i > 0 && interrupts[i - 1].DueTime > interrupt.DueTime) i--;
            interrupts.Insert(i, interrupt);
        }
    }

    public override bool Cancel(Interrupt interrupt)
    {
        lock (Gate)
        {
            bool wasPending = interrupt.IsPending;
            interrupt.IsPending = false;
            interrupts.Remove(interrupt);
            return wasPending;
        }
    }

    // The host work happens at the moment the device would be done with it, in place, so that its outcome is in order.
    public override void StartDevice(long latency, Func<Task> operation, Interrupt whenDone) =>
        Schedule(new Interrupt(whenDone.Name, whenDone.Irql, () =>
        {
            operation().GetAwaiter().GetResult();
            whenDone.Handler();
        }), now + latency);

    protected override void Started(KernelThread thread)
    {
        lock (Gate)
        {
            if (running is null)
            {
                running = thread;
                thread.State = SchedulerState.Running;
                thread.Baton.Release();
            }
            else
            {
                thread.State = SchedulerState.Blocked;
                MakeReady(thread);
            }
        }
    }

    protected override void Begin(KernelThread thread)
    {
        thread.Baton.Wait();
        Machine.BugChecks.ThrowIfStopped();
        if (RunAssigned(thread)) Drive(thread, SchedulingPoint.Wake);
    }

    protected override void Ended(KernelThread thread)
    {
        lock (Gate)
        {
            if (thread.State == SchedulerState.Ready) readyCount--;
            thread.State = SchedulerState.Exited;
        }
        if (Machine.BugChecks.StopReason is not null) return;
        if (resting is { } waiter && thread.Kind == ThreadKind.User) Unblock(waiter);
        try
        {
            Drive(thread, SchedulingPoint.Exit);
        }
        catch (Exception e)
        {
            Machine.BugChecks.Convert(e);
        }
    }

    internal override void StopAll()
    {
        lock (Gate)
        {
            foreach (KernelThread thread in LiveThreads)
            {
                if (thread != KernelThread.Current) thread.Baton.Release();
            }
        }
    }

    void MakeReady(KernelThread thread)
    {
        if (thread.State == SchedulerState.Ready) return;
        thread.State = SchedulerState.Ready;
        thread.ReadySequence = ++lastReadySequence;
        readyCount++;
    }

    void MakeRunning(KernelThread thread)
    {
        if (thread.State == SchedulerState.Ready) readyCount--;
        thread.State = SchedulerState.Running;
        running = thread;
    }

    // Takes choices until the calling thread may run (again), or for good when it has ended. DPCs of this thread's
    // processor and interrupts happen right here, on the borrowed host thread.
    void Drive(KernelThread thread, SchedulingPoint point)
    {
        bool hasTimePassed = false;
        while (true)
        {
            ScheduleChoice choice;
            lock (Gate)
            {
                Collect(thread, point, hasTimePassed);
                if (choices.Count == 0)
                {
                    if (IsHung()) throw Machine.BugChecks.StopHung(DescribeHang());
                    running = null;
                    if (thread.State == SchedulerState.Exited) return;
                    choice = default;
                }
                else
                {
                    choice = Choose(thread, point);
                    switch (choice.Kind)
                    {
                        case ScheduleChoiceKind.Continue:
                            MakeRunning(thread);
                            return;
                        case ScheduleChoiceKind.Run:
                            MakeRunning(choice.Thread!);
                            if (thread.State == SchedulerState.Exited) Machine.Dpcs.Move(thread, choice.Thread!);
                            choice.Thread!.Baton.Release();
                            break;
                        case ScheduleChoiceKind.Dpc when choice.Thread != thread:
                            choice.Thread!.RunsDpcNext = true;
                            running = choice.Thread;
                            choice.Thread.Baton.Release();
                            break;
                        case ScheduleChoiceKind.Interrupt:
                            hasTimePassed = true;
                            MoveTime(choice.Interrupt!.DueTime);
                            interrupts.Remove(choice.Interrupt);
                            choice.Interrupt.IsPending = false;
                            if (choice.Thread == thread) break;
                            choice.Thread!.TakesInterruptNext = choice.Interrupt;
                            running = choice.Thread;
                            choice.Thread.Baton.Release();
                            break;
                        case ScheduleChoiceKind.Timeout:
                            hasTimePassed = true;
                            MoveTime(choice.Thread!.Deadline);
                            MakeReady(choice.Thread);
                            break;
                    }
                }
            }
            switch (choice.Kind)
            {
                case ScheduleChoiceKind.Interrupt when choice.Thread == thread:
                    Take(thread, choice.Interrupt!);
                    continue;
                case ScheduleChoiceKind.Timeout:
                    continue;
                case ScheduleChoiceKind.Dpc when choice.Thread == thread:
                    RunDpc(thread);
                    continue;
            }
            if (thread.State == SchedulerState.Exited) return;
            thread.Baton.Wait();
            Machine.BugChecks.ThrowIfStopped();
            if (!RunAssigned(thread)) return;
        }
    }

    ScheduleChoice Choose(KernelThread thread, SchedulingPoint point)
    {
        try
        {
            return choices[strategy.Choose(thread, point, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(choices))];
        }
        catch (ScheduleException e)
        {
            throw Machine.BugChecks.StopSchedule(e);
        }
    }

    /// <summary>Does what the thread was given the baton for; false if that is to go on with its own code.</summary>
    bool RunAssigned(KernelThread thread)
    {
        if (thread.TakesInterruptNext is { } interrupt)
        {
            thread.TakesInterruptNext = null;
            Take(thread, interrupt);
            return true;
        }
        if (!thread.RunsDpcNext) return false;
        thread.RunsDpcNext = false;
        RunDpc(thread);
        return true;
    }

    void Take(KernelThread thread, Interrupt interrupt)
    {
        Interrupted interrupted = Borrow(thread);
        Deliver(thread, interrupt);
        GiveBack(thread, interrupted);
    }

    void RunDpc(KernelThread thread)
    {
        Interrupted interrupted = Borrow(thread);
        Machine.Dpcs.RunNext(thread);
        GiveBack(thread, interrupted);
    }

    /// <summary>What a thread was about when an interrupt or DPC took its processor.</summary>
    readonly record struct Interrupted(SchedulerState State, ulong ReadySequence, ulong SpinningOn, uint SpinMask, string? Reason);

    // The handler runs as the thread: it passes scheduling points, and may have to wait for a lock, whatever the thread itself does.
    Interrupted Borrow(KernelThread thread)
    {
        lock (Gate)
        {
            var interrupted = new Interrupted(thread.State, thread.ReadySequence, thread.SpinningOn, thread.SpinMask, thread.Reason);
            thread.SpinningOn = 0;
            MakeRunning(thread);
            return interrupted;
        }
    }

    void GiveBack(KernelThread thread, Interrupted interrupted)
    {
        lock (Gate)
        {
            thread.SpinningOn = interrupted.SpinningOn;
            thread.SpinMask = interrupted.SpinMask;
            thread.Reason = interrupted.Reason;
            thread.State = interrupted.State;
            if (interrupted.State == SchedulerState.Ready)
            {
                thread.ReadySequence = interrupted.ReadySequence;
                readyCount++;
            }
            else if (interrupted.State == SchedulerState.Blocked && thread.Permit)
            {
                // The handler, or somebody meanwhile, unblocked it.
                MakeReady(thread);
            }
        }
    }

    void Collect(KernelThread thread, SchedulingPoint point, bool hasTimePassed)
    {
        choices.Clear();
        if (Machine.Dpcs.PendingCount > 0)
        {
            if (CanRunDpc(thread)) choices.Add(new(ScheduleChoiceKind.Dpc, thread, null));
            foreach (KernelThread other in LiveThreads)
            {
                if (other != thread && other.State != SchedulerState.Exited && CanRunDpc(other)) choices.Add(new(ScheduleChoiceKind.Dpc, other, null));
            }
        }
        int due = 0;
        for (; due < interrupts.Count && interrupts[due].DueTime <= now; due++)
        {
            if (ProcessorFor(interrupts[due], thread) is { } taker) choices.Add(new(ScheduleChoiceKind.Interrupt, taker, interrupts[due]));
        }
        bool canContinue = thread.State == SchedulerState.Ready && CanTakeLock(thread);
        // Who spins waits for somebody else, or for time to pass: it comes last. It looks again when something has happened, as some things
        // happen for ever, such as a periodic timer.
        bool isLast = point == SchedulingPoint.Spin;
        if (canContinue && !isLast) choices.Add(new(ScheduleChoiceKind.Continue, thread, null));
        int first = choices.Count;
        foreach (KernelThread other in LiveThreads)
        {
            if (other != thread && other.State == SchedulerState.Ready && CanTakeLock(other)) choices.Add(new(ScheduleChoiceKind.Run, other, null));
        }
        choices.Sort(first, choices.Count - first, ByReadySequence);
        if (isNearlyAtRest)
        {
            if (choices.Count == 0) choices.Add(new(resting == thread ? ScheduleChoiceKind.Continue : ScheduleChoiceKind.Run, resting, null));
            return;
        }
        bool isDue = choices.Count == 0 && !(canContinue && hasTimePassed);
        if ((isDue || strategy.MovesTimeEarly) && SomebodyWaits()) CollectNextInTime(thread, due, isEarly: choices.Count > 0 || canContinue);
        if (canContinue && isLast) choices.Add(new(ScheduleChoiceKind.Continue, thread, null));
    }

    static readonly Comparer<ScheduleChoice> ByReadySequence =
        Comparer<ScheduleChoice>.Create((a, b) => a.Thread!.ReadySequence.CompareTo(b.Thread!.ReadySequence));

    void CollectNextInTime(KernelThread thread, int firstFuture, bool isEarly)
    {
        KernelThread? taker = null;
        while (firstFuture < interrupts.Count
            && (isEarly && interrupts[firstFuture].IsWatchdog || (taker = ProcessorFor(interrupts[firstFuture], thread)) is null)) firstFuture++;
        long next = firstFuture < interrupts.Count ? interrupts[firstFuture].DueTime : long.MaxValue;
        KernelThread? waiter = null;
        foreach (KernelThread other in LiveThreads)
        {
            if (other.State == SchedulerState.Blocked && other.Deadline < next)
            {
                next = other.Deadline;
                waiter = other;
            }
        }
        if (waiter is not null) choices.Add(new(ScheduleChoiceKind.Timeout, waiter, null));
        else if (next != long.MaxValue) choices.Add(new(ScheduleChoiceKind.Interrupt, taker, interrupts[firstFuture]));
    }

    /// <summary>Who takes an interrupt: the thread at the scheduling point if its IRQL allows, else another one; null while all mask it.</summary>
    KernelThread? ProcessorFor(Interrupt interrupt, KernelThread thread) => CanTake(thread, interrupt) ? thread
        : LiveThreads.Find(other => other.State != SchedulerState.Exited && CanTake(other, interrupt));

    // At PASSIVE_LEVEL it is no interrupt, but the world outside going its way.
    static bool CanTake(KernelThread thread, Interrupt interrupt) =>
        interrupt.Irql == PASSIVE_LEVEL || thread.Irql < interrupt.Irql && !thread.InterruptsDisabled;

    static bool CanRunDpc(KernelThread thread) => thread.Dpcs.Count > 0 && thread.TakesDpcs;

    static bool CanTakeLock(KernelThread thread) => thread.SpinningOn == 0 || CanHaveLock(thread.SpinningOn, thread.SpinMask);
}
