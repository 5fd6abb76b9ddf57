using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Kernel timers: at their time they become signalled and queue a DPC.</summary>
public sealed class Timers
{
    readonly Machine machine;
    readonly Lock gate = new();
    // A KTIMER is the driver's memory; the pending expiry belongs to its address while it is set.
    readonly Dictionary<ulong, Interrupt> pending = [];

    internal Timers(Machine machine) => this.machine = machine;

    /// <summary>Prepares a notification timer. Any IRQL.</summary>
    [KernelExport]
    public void KeInitializeTimer(PKTIMER Timer) => KeInitializeTimerEx(Timer, TIMER_TYPE.NotificationTimer);

    /// <summary>Prepares a timer. Any IRQL.</summary>
    [KernelExport]
    public void KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type)
    {
        Timer.Value = default;
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(Timer.Address), (byte)((byte)KOBJECTS.TimerNotificationObject + (byte)Type), KTIMER.SizeOf, 0);
    }

    /// <summary>Sets a one-shot timer; TRUE if it was set already. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeSetTimer(PKTIMER Timer, long DueTime, PKDPC Dpc) => KeSetTimerEx(Timer, DueTime, 0, Dpc);

    /// <summary>Sets a timer; TRUE if it was set already. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="DueTime">100 ns units: negative = relative, otherwise system time.</param>
    /// <param name="Period">Milliseconds; 0 for a one-shot timer.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeSetTimerEx(PKTIMER Timer, long DueTime, int Period, PKDPC Dpc)
    {
        long now = machine.Scheduler.InterruptTime;
        long due = DueTime < 0 ? now - DueTime : Math.Max(now, DueTime - machine.Scheduler.BootTime);
        lock (gate)
        {
            bool wasSet = Withdraw(Timer);
            new PDISPATCHER_HEADER(Timer.Address).SignalState = 0;
            Timer.DueTime = (ulong)due;
            Timer.Dpc = Dpc;
            Timer.Period = (uint)Period;
            Interrupt? interrupt = null;
            interrupt = new Interrupt("timer", CLOCK_LEVEL, () => Expire(Timer, interrupt!));
            pending[Timer.Address] = interrupt;
            machine.Events.Emit(new TimerSet(Timer, due));
            machine.Scheduler.Schedule(interrupt, due);
            return wasSet;
        }
    }

    /// <summary>Sets a timer that may be late; here it is not. TRUE if it was set already. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="TolerableDelay">Milliseconds; without effect.</param>
    /// <inheritdoc cref="KeSetTimerEx"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeSetCoalescableTimer(PKTIMER Timer, long DueTime, uint Period, uint TolerableDelay, PKDPC Dpc) =>
        KeSetTimerEx(Timer, DueTime, (int)Period, Dpc);

    /// <summary>Takes a timer back; TRUE if it was set. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeCancelTimer(PKTIMER Timer)
    {
        lock (gate) return Withdraw(Timer);
    }

    /// <summary>TRUE if the timer is signalled. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeReadStateTimer(PKTIMER Timer) => new PDISPATCHER_HEADER(Timer.Address).SignalState != 0;

    bool Withdraw(PKTIMER timer)
    {
        if (!pending.Remove(timer.Address, out Interrupt? interrupt)) return false;
        machine.Events.Emit(new TimerCancelled(timer));
        // If the clock is about to deliver it, Expire sees that it was taken back.
        machine.Scheduler.Cancel(interrupt);
        return true;
    }

    void Expire(PKTIMER timer, Interrupt interrupt)
    {
        SchedulingPoint? follows = null;
        lock (gate)
        {
            // Cancelled or set anew while the clock was about to deliver it; the memory may be gone.
            if (pending.GetValueOrDefault(timer.Address) != interrupt) return;
            PKDPC dpc = timer.Dpc;
            if (timer.Period == 0)
            {
                pending.Remove(timer.Address);
            }
            else
            {
                timer.DueTime += timer.Period * 10_000UL;
                machine.Scheduler.Schedule(interrupt, (long)timer.DueTime);
            }
            machine.Events.Emit(new TimerExpired(timer));
            // Under the lock: whoever cancels it in vain may flush the DPCs and free both.
            if (!dpc.IsNull) follows = machine.Dpcs.Insert(dpc, default, default);
            machine.Dispatcher.Signal(new PDISPATCHER_HEADER(timer.Address));
        }
        if (follows is { } point) machine.Scheduler.Yield(machine.CurrentThread, point);
    }
}
