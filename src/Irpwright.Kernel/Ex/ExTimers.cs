using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Timers that the system allocates for drivers. They expire exactly when they are due, whatever delay they would tolerate.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/exxxxtimer-routines-and-ex-timer-objects"/>
public sealed class ExTimers
{
    const uint Tag = 0x6D54_7845; // "ExTm"
    const ulong DpcOffset = (EX_TIMER.SizeOf + 15) & ~15UL;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, ExTimer> timers = [];
    readonly PKDEFERRED_ROUTINE callback;

    sealed class ExTimer(PEX_TIMER timer, PEXT_CALLBACK callback, PVOID context, uint attributes)
    {
        public readonly PEX_TIMER Object = timer;
        public readonly PEXT_CALLBACK Callback = callback;
        public readonly PVOID Context = context;
        public readonly uint Attributes = attributes;
        public Interrupt? Pending;
        public long Period;
        /// <summary>Expirations that have begun and not ended: the timer is signalled, the DPC with the callback is queued or runs.</summary>
        public int Expiring;
        public bool IsDisabled, IsDeleted;
        public PEXT_DELETE_CALLBACK DeleteCallback;
        public PVOID DeleteContext;
        public KernelThread? Deleter;
    }

    internal ExTimers(Machine machine)
    {
        this.machine = machine;
        callback = machine.Code.Routine(new KDEFERRED_ROUTINE(CallBack));
    }

    /// <summary>Makes a timer. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Callback">Called at DISPATCH_LEVEL when the timer expires; NULL for none.</param>
    /// <param name="Attributes">EX_TIMER_*; without EX_TIMER_NOTIFICATION it is a synchronization timer.</param>
    /// <returns>NULL when memory is short.</returns>
    /// <exception cref="BugCheckException">EX_TIMER_HIGH_RESOLUTION and EX_TIMER_NO_WAKE were both given.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PEX_TIMER ExAllocateTimer(PEXT_CALLBACK Callback, PVOID CallbackContext, uint Attributes)
    {
        if ((Attributes & (EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE)) == (EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE))
            Invalid(default, "ExAllocateTimer was called with EX_TIMER_HIGH_RESOLUTION and EX_TIMER_NO_WAKE; they exclude each other.");
        PEX_TIMER timer = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, DpcOffset + KDPC.SizeOf, Tag, 0, zero: true));
        if (timer.IsNull) return timer;
        KOBJECTS type = (Attributes & EX_TIMER_NOTIFICATION) != 0 ? KOBJECTS.TimerNotificationObject : KOBJECTS.TimerSynchronizationObject;
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(timer.Address), (byte)type, EX_TIMER.SizeOf, 0);
        machine.Dpcs.KeInitializeDpc(DpcOf(timer), callback, timer);
        lock (gate) timers.Add(timer.Address, new ExTimer(timer, Callback, CallbackContext, Attributes));
        return timer;
    }

    /// <summary>Sets a timer. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="DueTime">100 ns units: negative = relative, otherwise system time.</param>
    /// <param name="Period">100 ns units; 0 for a one-shot timer.</param>
    /// <param name="Parameters">May be NULL; the delay tolerance in it has no effect.</param>
    /// <returns>TRUE if it was set already, and that was cancelled.</returns>
    /// <exception cref="BugCheckException">A high-resolution timer has an absolute time, or the tolerance is negative.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExSetTimer(PEX_TIMER Timer, long DueTime, long Period, PEXT_SET_PARAMETERS Parameters)
    {
        ExTimer timer = Find(Timer, "ExSetTimer");
        if (DueTime >= 0 && (timer.Attributes & EX_TIMER_HIGH_RESOLUTION) != 0)
            Invalid(Timer, "ExSetTimer was called with an absolute time for a high-resolution timer; its time must be relative.");
        if (!Parameters.IsNull && Parameters.NoWakeTolerance < 0 && Parameters.NoWakeTolerance != EX_TIMER_UNLIMITED_TOLERANCE)
            Invalid(Timer, $"ExSetTimer was called with a NoWakeTolerance of {Parameters.NoWakeTolerance}.");
        long now = machine.Scheduler.InterruptTime;
        long due = DueTime < 0 ? now - DueTime : Math.Max(now, DueTime - machine.Scheduler.BootTime);
        lock (gate)
        {
            if (timer.IsDisabled) return false;
            bool wasSet = Withdraw(timer);
            Timer.Header.SignalState = 0;
            timer.Period = Period;
            Interrupt? interrupt = null;
            interrupt = new Interrupt("timer", CLOCK_LEVEL, () => Expire(timer, interrupt!));
            timer.Pending = interrupt;
            machine.Scheduler.Schedule(interrupt, due);
            return wasSet;
        }
    }

    /// <summary>Takes a timer back; TRUE if it was set. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Parameters">NULL.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExCancelTimer(PEX_TIMER Timer, PVOID Parameters)
    {
        ExTimer timer = Find(Timer, "ExCancelTimer");
        lock (gate) return !timer.IsDisabled && Withdraw(timer);
    }

    /// <summary>
    /// Deletes a timer once it is neither set nor expiring. IRQL &lt;= DISPATCH_LEVEL, with <paramref name="Wait"/> &lt;= APC_LEVEL.
    /// </summary>
    /// <param name="Cancel">TRUE takes it back if it is set; FALSE lets it expire once more.</param>
    /// <param name="Wait">TRUE returns when the timer is deleted and the delete callback has run.</param>
    /// <param name="Parameters">The delete callback; may be NULL.</param>
    /// <returns>TRUE if it was set and was cancelled.</returns>
    /// <exception cref="BugCheckException"><paramref name="Wait"/> without <paramref name="Cancel"/>; waiting at DISPATCH_LEVEL.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN ExDeleteTimer(PEX_TIMER Timer, BOOLEAN Cancel, BOOLEAN Wait, PEXT_DELETE_PARAMETERS Parameters)
    {
        ExTimer timer = Find(Timer, "ExDeleteTimer");
        if (Wait && !Cancel) Invalid(Timer, "ExDeleteTimer was called with Wait TRUE and Cancel FALSE.");
        KernelThread thread = machine.CurrentThread;
        if (Wait && thread.Irql >= DISPATCH_LEVEL)
        {
            throw machine.BugChecks.Stop(BugCheckCode.ATTEMPTED_SWITCH_FROM_DPC, thread.Object.Address, 0, 0, 0,
                $"ExDeleteTimer was called with Wait TRUE at IRQL {thread.Irql}; waiting is allowed below DISPATCH_LEVEL only.");
        }
        bool cancelled;
        lock (gate)
        {
            if (timer.IsDisabled) return false;
            timer.IsDisabled = true;
            cancelled = Cancel && Withdraw(timer);
            if (!Parameters.IsNull)
            {
                timer.DeleteCallback = Parameters.DeleteCallback;
                timer.DeleteContext = Parameters.DeleteContext;
            }
            if (Wait) timer.Deleter = thread;
        }
        DeleteIfIdle(timer);
        if (Wait) machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref timer.IsDeleted), "waits in ExDeleteTimer until the timer's callback returns");
        return cancelled;
    }

    /// <summary>Fills in the parameters of <see cref="ExSetTimer"/>.</summary>
    [WdkInline]
    public void ExInitializeSetTimerParameters(PEXT_SET_PARAMETERS Parameters) => Parameters.Value = default;

    /// <summary>Fills in the parameters of <see cref="ExDeleteTimer"/>.</summary>
    [WdkInline]
    public void ExInitializeDeleteTimerParameters(PEXT_DELETE_PARAMETERS Parameters) => Parameters.Value = default;

    bool Withdraw(ExTimer timer)
    {
        if (timer.Pending is not { } interrupt) return false;
        timer.Pending = null;
        // If the clock is about to deliver it, Expire sees that it was taken back.
        machine.Scheduler.Cancel(interrupt);
        return true;
    }

    void Expire(ExTimer timer, Interrupt interrupt)
    {
        SchedulingPoint? follows = null;
        lock (gate)
        {
            if (timer.Pending != interrupt) return;
            timer.Pending = null;
            // After ExDeleteTimer a periodic timer expires once more at most.
            if (timer.Period != 0 && !timer.IsDisabled)
            {
                timer.Pending = interrupt;
                machine.Scheduler.Schedule(interrupt, interrupt.DueTime + timer.Period);
            }
            timer.Expiring++;
            // Under the lock: whoever cancels it in vain may flush the DPCs and free what the callback uses.
            if (!timer.Callback.IsNull) follows = machine.Dpcs.Insert(DpcOf(timer.Object), default, default);
            machine.Dispatcher.Signal(new PDISPATCHER_HEADER(timer.Object.Address));
        }
        if (follows is { } point) machine.Scheduler.Yield(machine.CurrentThread, point);
        // A DPC that is queued already stands for this expiration too.
        else Expired(timer);
    }

    void CallBack(PKDPC dpc, PVOID timer, PVOID argument1, PVOID argument2)
    {
        ExTimer expired = Find(new PEX_TIMER(timer.Address), "a timer's DPC");
        machine.Code.Call(expired.Callback, expired.Object, expired.Context);
        Expired(expired);
    }

    void Expired(ExTimer timer)
    {
        lock (gate) timer.Expiring--;
        DeleteIfIdle(timer);
    }

    void DeleteIfIdle(ExTimer timer)
    {
        lock (gate)
        {
            if (!timer.IsDisabled || timer.Pending is not null || timer.Expiring > 0 || !timers.Remove(timer.Object.Address)) return;
        }
        machine.Pool.Free(timer.Object.Address, Tag);
        if (!timer.DeleteCallback.IsNull)
        {
            byte irql = machine.Irqls.Raise(machine.CurrentThread, Math.Max(machine.CurrentThread.Irql, DISPATCH_LEVEL));
            machine.Code.Call(timer.DeleteCallback, timer.DeleteContext);
            machine.Irqls.Lower(machine.CurrentThread, irql);
        }
        Volatile.Write(ref timer.IsDeleted, true);
        if (timer.Deleter is { } deleter) machine.Scheduler.Unblock(deleter);
    }

    ExTimer Find(PEX_TIMER timer, string caller)
    {
        lock (gate)
        {
            if (timers.TryGetValue(timer.Address, out ExTimer? found)) return found;
        }
        throw machine.BugChecks.Stop(BugCheckCode.TIMER_OR_DPC_INVALID, 0, timer.Address, 0, 0,
            $"{caller} was called for {timer}, which ExAllocateTimer did not return or which was deleted.");
    }

    // The documentation says that these stop the machine, not with which code.
    [DoesNotReturn]
    void Invalid(PEX_TIMER timer, string explanation) =>
        throw machine.BugChecks.Stop(BugCheckCode.TIMER_OR_DPC_INVALID, 0, timer.Address, 0, 0, explanation);

    static PKDPC DpcOf(PEX_TIMER timer) => new(timer.Address + DpcOffset);
}
