using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The timers of device objects: once a second, for all that are started, from one DPC. (DPC-10)</summary>
public sealed class IoTimers
{
    const uint Tag = 0x6D54_6F49; // "IoTm"
    const long Second = 10_000_000;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<PIO_TIMER> timers = [];
    readonly Interrupt clock;
    PKDPC dpc;
    // Whose routine runs, and on which thread.
    PIO_TIMER called;
    KernelThread? caller;

    internal IoTimers(Machine machine)
    {
        this.machine = machine;
        clock = new Interrupt("IoTimer", CLOCK_LEVEL, Tick);
    }

    /// <summary>Gives a device its timer routine, stopped at first. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INSUFFICIENT_RESOURCES when memory is short. A second call replaces routine and context.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoInitializeTimer(PDEVICE_OBJECT DeviceObject, PIO_TIMER_ROUTINE TimerRoutine, PVOID Context)
    {
        lock (gate)
        {
            if (DeviceObject.Timer.IsNull)
            {
                PIO_TIMER created = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, IO_TIMER.SizeOf, Tag, 0, zero: true));
                if (created.IsNull) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
                created.Type = IO_TYPE_TIMER;
                created.DeviceObject = DeviceObject;
                Lists.Initialize(new PLIST_ENTRY(created.Address + 8));
                DeviceObject.Timer = created;
                timers.Add(created);
            }
            PIO_TIMER timer = DeviceObject.Timer;
            timer.TimerRoutine = TimerRoutine;
            timer.Context = Context;
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Has a device's timer routine called about once a second. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoStartTimer(PDEVICE_OBJECT DeviceObject)
    {
        lock (gate)
        {
            // A device that is going away gets no calls any more.
            if ((DeviceObject.DeviceObjectExtension.ExtensionFlags & (DOE_UNLOAD_PENDING | DOE_DELETE_PENDING)) != 0) return;
            DeviceObject.Timer.TimerFlag = 1;
            if (!clock.IsPending) machine.Scheduler.Schedule(clock, machine.Scheduler.InterruptTime + Second);
        }
    }

    /// <summary>
    /// Ends the calls that <see cref="IoStartTimer"/> began, and waits for the end of one that runs. IRQL &lt;= DISPATCH_LEVEL, not in the
    /// timer routine.
    /// </summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoStopTimer(PDEVICE_OBJECT DeviceObject)
    {
        PIO_TIMER timer = DeviceObject.Timer;
        lock (gate) timer.TimerFlag = 0;
        WaitForRoutine(timer);
    }

    // As Windows calls the routines with the lock that this takes; there, a routine that stops its own timer hangs.
    void WaitForRoutine(PIO_TIMER timer)
    {
        KernelThread thread = machine.CurrentThread;
        while (IsCalled()) machine.Scheduler.Yield(thread, SchedulingPoint.Spin);

        bool IsCalled()
        {
            lock (gate) return called == timer && caller is { } other && other != thread;
        }
    }

    /// <summary>A device is deleted, and its timer with it.</summary>
    internal void Remove(PDEVICE_OBJECT device)
    {
        if (device.Timer.IsNull) return;
        lock (gate) timers.Remove(device.Timer);
        WaitForRoutine(device.Timer);
        machine.Pool.Free(device.Timer.Address, Tag);
        device.Timer = default;
    }

    void Tick()
    {
        lock (gate)
        {
            if (!timers.Exists(timer => timer.TimerFlag != 0)) return;
            machine.Scheduler.Schedule(clock, clock.DueTime + Second);
            if (dpc.IsNull)
            {
                dpc = new PKDPC(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, KDPC.SizeOf, Tag, 0));
                if (dpc.IsNull) return;
                machine.Dpcs.KeInitializeDpc(dpc, machine.Code.Routine(new KDEFERRED_ROUTINE(CallRoutines)), default);
            }
        }
        machine.Dpcs.KeInsertQueueDpc(dpc, default, default);
    }

    void CallRoutines(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
    {
        PIO_TIMER[] started;
        lock (gate) started = [.. timers];
        foreach (PIO_TIMER timer in started)
        {
            PIO_TIMER_ROUTINE routine;
            PDEVICE_OBJECT device;
            PVOID routineContext;
            lock (gate)
            {
                // Stopped or deleted by one of the routines before it.
                if (!timers.Contains(timer) || timer.TimerFlag == 0) continue;
                routine = timer.TimerRoutine;
                device = timer.DeviceObject;
                routineContext = timer.Context;
                (called, caller) = (timer, machine.CurrentThread);
            }
            machine.Code.Call(routine, device, routineContext);
            lock (gate) caller = null;
        }
    }
}
