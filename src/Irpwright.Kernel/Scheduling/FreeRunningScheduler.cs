using System.Diagnostics;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Guest threads are host threads that run in parallel; time is the host's.</summary>
public sealed class FreeRunningScheduler : Scheduler, IDisposable
{
    readonly long bootTimestamp = Stopwatch.GetTimestamp();
    readonly PriorityQueue<Interrupt, (long, long)> interrupts = new();
    readonly SemaphoreSlim clockSignal = new(0);
    KernelThread? clock;
    long lastInterruptSequence;
    int devicesAtWork;

    internal FreeRunningScheduler(Machine machine) : base(machine) => BootTime = DateTime.UtcNow.ToFileTimeUtc();

    public override long InterruptTime => Stopwatch.GetElapsedTime(bootTimestamp).Ticks;

    public override long BootTime { get; }

    public override void Yield(KernelThread thread, SchedulingPoint point)
    {
        Heartbeat++;
        Machine.BugChecks.ThrowIfStopped();
        if (point == SchedulingPoint.Spin) Thread.SpinWait(1);
        while (thread.TakesDpcs && thread.Dpcs.Count > 0) Machine.Dpcs.RunNext(thread);
        DeliverApcs(thread, point);
    }

    internal override void Spin(KernelThread thread, ulong spinLock, uint mask)
    {
        var spinner = new SpinWait();
        while (!CanHaveLock(spinLock, mask))
        {
            Machine.BugChecks.ThrowIfStopped();
            if (spinner.Count == 50)
            {
                thread.SpinMask = mask;
                thread.SpinningOn = spinLock;
                thread.Reason = $"spins on the lock at {Format.Address(spinLock)}";
            }
            spinner.SpinOnce(sleep1Threshold: 50);
        }
        if (thread.SpinningOn == 0) return;
        thread.SpinningOn = 0;
        thread.Reason = null;
    }

    internal override void Block(KernelThread thread, long deadline)
    {
        Heartbeat++;
        Machine.BugChecks.ThrowIfStopped();
        thread.Deadline = deadline;
        thread.State = SchedulerState.Blocked;
        if (deadline == long.MaxValue)
        {
            thread.Baton.Wait();
        }
        else
        {
            // Whoever wakes looks at the time again; a host thread waits 24 days at most.
            long remaining = Math.Min((deadline - InterruptTime) / TimeSpan.TicksPerMillisecond, int.MaxValue);
            if (remaining >= 0) thread.Baton.Wait((int)remaining);
        }
        thread.State = SchedulerState.Running;
        Interlocked.Exchange(ref thread.IsWoken, 0);
        Machine.BugChecks.ThrowIfStopped();
    }

    // Whoever was woken before and does not run yet looks at everything when it does.
    internal override void Unblock(KernelThread thread)
    {
        if (Interlocked.Exchange(ref thread.IsWoken, 1) == 0) thread.Baton.Release();
    }

    internal override void Stall(KernelThread thread, long duration)
    {
        long end = InterruptTime + duration;
        do Yield(thread, SchedulingPoint.Spin);
        while (InterruptTime < end);
    }

    // It passes by itself.
    internal override void PassTime(KernelThread thread, long duration)
    {
    }

    public override void Preempt(KernelThread thread, long ranFor) => Yield(thread, SchedulingPoint.Call);

    public override void Schedule(Interrupt interrupt, long dueTime)
    {
        lock (Gate)
        {
            if (interrupt.IsPending) interrupts.Remove(interrupt, out _, out _);
            interrupt.DueTime = dueTime;
            interrupt.Sequence = ++lastInterruptSequence;
            interrupt.IsPending = true;
            interrupts.Enqueue(interrupt, (dueTime, interrupt.Sequence));
        }
        EnsureClock();
        clockSignal.Release();
    }

    public override bool Cancel(Interrupt interrupt)
    {
        lock (Gate)
        {
            if (!interrupt.IsPending) return false;
            interrupt.IsPending = false;
            interrupts.Remove(interrupt, out _, out _);
            return true;
        }
    }

    public override void StartDevice(long latency, Func<Task> operation, Interrupt whenDone)
    {
        long earliest = InterruptTime + latency;
        Interlocked.Increment(ref devicesAtWork);
        // The operation reports its own failures through its result; a fault here would be lost otherwise.
        _ = operation().ContinueWith(done =>
        {
            if (done.Exception is { } error) Machine.BugChecks.Convert(error.InnerException!);
            else if (Machine.BugChecks.StopReason is null) Schedule(whenDone, earliest);
            Interlocked.Decrement(ref devicesAtWork);
        }, TaskScheduler.Default);
    }

    protected override void Started(KernelThread thread) => thread.State = SchedulerState.Running;

    protected override void Begin(KernelThread thread)
    {
    }

    protected override void Ended(KernelThread thread)
    {
        thread.State = SchedulerState.Exited;
        if (Machine.BugChecks.StopReason is not null) return;
        try
        {
            while (thread.Dpcs.Count > 0) Machine.Dpcs.RunNext(thread);
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
        clockSignal.Release();
    }

    internal override void StopIfHung()
    {
        string hang;
        lock (Gate)
        {
            long before = Volatile.Read(ref Heartbeat);
            if (interrupts.Count > 0 || Volatile.Read(ref devicesAtWork) > 0 || !LiveThreads.TrueForAll(WaitsForEver) || !IsHung()) return;
            // One that was looked at last may have woken one that was looked at first, and begun to wait itself.
            if (Volatile.Read(ref Heartbeat) != before) return;
            hang = DescribeHang();
        }
        Machine.BugChecks.StopHung(hang);
    }

    static bool WaitsForEver(KernelThread thread)
    {
        bool isWoken = Volatile.Read(ref thread.IsWoken) != 0;
        return thread.State switch
        {
            SchedulerState.Exited => true,
            SchedulerState.Blocked => thread.Deadline == long.MaxValue && !isWoken,
            _ => thread.SpinningOn is var spinLock and not 0 && GuestMemory.IsAccessible(spinLock, sizeof(uint), PageAccess.Read)
                && !CanHaveLock(spinLock, thread.SpinMask),
        };
    }

    public void Dispose() => clockSignal.Dispose();

    /// <summary>Has the times in guest memory written at each tick from now on.</summary>
    internal void StartClock()
    {
        if (keepsTimeCurrent) return;
        keepsTimeCurrent = true;
        Machine.Time.Refresh();
        EnsureClock();
        clockSignal.Release();
    }

    void EnsureClock()
    {
        if (clock is not null || Interlocked.CompareExchange(ref clockStarted, 1, 0) != 0) return;
        clock = Start("clock", ThreadKind.System, RunClock);
    }

    int clockStarted;
    volatile bool keepsTimeCurrent;

    // Timers and device interrupts come from one thread, as from one interrupt controller.
    void RunClock()
    {
        KernelThread thread = Machine.CurrentThread;
        while (Machine.BugChecks.StopReason is null)
        {
            Interrupt? due = null;
            long wait = Timeout.Infinite;
            lock (Gate)
            {
                if (interrupts.TryPeek(out Interrupt? next, out _))
                {
                    long remaining = next.DueTime - InterruptTime;
                    if (remaining <= 0)
                    {
                        due = interrupts.Dequeue();
                        due.IsPending = false;
                    }
                    else
                    {
                        wait = Math.Max(1, remaining / TimeSpan.TicksPerMillisecond);
                    }
                }
            }
            if (due is null)
            {
                thread.Deadline = wait == Timeout.Infinite ? long.MaxValue : 0;
                thread.State = SchedulerState.Blocked;
                if (keepsTimeCurrent)
                {
                    wait = Math.Min((uint)wait, SystemTime.TimeIncrement / TimeSpan.TicksPerMillisecond);
                    Machine.Time.Refresh();
                }
                clockSignal.Wait((int)Math.Min(wait, int.MaxValue));
                thread.State = SchedulerState.Running;
                continue;
            }
            Deliver(thread, due);
            Yield(thread, SchedulingPoint.IrqlLowered);
        }
    }
}
