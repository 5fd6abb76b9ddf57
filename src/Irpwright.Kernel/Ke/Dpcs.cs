using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Deferred procedure calls.</summary>
public sealed class Dpcs
{
    const byte MediumImportance = 1;
    const byte HighImportance = 2;

    readonly Machine machine;
    readonly Lock gate = new();
    int pendingCount;
    int runningCount;

    internal Dpcs(Machine machine) => this.machine = machine;

    /// <summary>DPCs that are queued and have not started.</summary>
    internal int PendingCount => Volatile.Read(ref pendingCount);

    /// <summary>Prepares a DPC object of medium importance. Any IRQL. (DPC-01)</summary>
    [KernelExport]
    public void KeInitializeDpc(PKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
    {
        Dpc.Value = default;
        Dpc.Type = DpcObject;
        Dpc.Importance = MediumImportance;
        Dpc.DeferredRoutine = DeferredRoutine;
        Dpc.DeferredContext = DeferredContext;
    }

    /// <summary>
    /// Queues a DPC to the current processor; FALSE, and no change, if it is queued already. Any IRQL. (DPC-01, DPC-05)
    /// </summary>
    [KernelExport]
    public BOOLEAN KeInsertQueueDpc(PKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
    {
        KernelThread thread = machine.CurrentThread;
        lock (gate)
        {
            if (!Dpc.DpcData.IsNull) return false;
            Dpc.SystemArgument1 = SystemArgument1;
            Dpc.SystemArgument2 = SystemArgument2;
            Dpc.DpcData = new PVOID(thread.Pcr.Address);
            if (Dpc.Importance == HighImportance) thread.Dpcs.AddFirst(Dpc);
            else thread.Dpcs.AddLast(Dpc);
            pendingCount++;
        }
        machine.Events.Emit(new DpcQueued(Dpc));
        machine.Scheduler.Yield(thread, SchedulingPoint.DpcQueued);
        return true;
    }

    /// <summary>Takes a DPC out of its queue; FALSE if it was not queued. Any IRQL. (DPC-04)</summary>
    [KernelExport]
    public BOOLEAN KeRemoveQueueDpc(PKDPC Dpc)
    {
        lock (gate)
        {
            if (Dpc.DpcData.IsNull) return false;
            foreach (KernelThread thread in machine.Scheduler.Threads)
            {
                if (thread.Pcr.Address == Dpc.DpcData.Address) thread.Dpcs.Remove(Dpc);
            }
            Dpc.DpcData = default;
            pendingCount--;
            return true;
        }
    }

    /// <summary>Waits until every DPC that is queued now has run. IRQL = PASSIVE_LEVEL. (DPC-04)</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void KeFlushQueuedDpcs()
    {
        KernelThread thread = machine.CurrentThread;
        while (PendingCount + Volatile.Read(ref runningCount) > 0)
        {
            RunNext(thread);
            machine.Scheduler.Yield(thread, SchedulingPoint.Call);
        }
    }

    /// <summary>Chooses the importance of a DPC, before it is queued. Any IRQL.</summary>
    [KernelExport]
    public void KeSetImportanceDpc(PKDPC Dpc, KDPC_IMPORTANCE Importance) => Dpc.Importance = (byte)Importance;

    /// <summary>Makes the device object's DPC call the driver's DpcForIsr routine. (DPC-06)</summary>
    [WdkInline]
    public void IoInitializeDpcRequest(PDEVICE_OBJECT DeviceObject, PIO_DPC_ROUTINE DpcRoutine) =>
        KeInitializeDpc(DpcOf(DeviceObject), new PKDEFERRED_ROUTINE(DpcRoutine.Address), DeviceObject);

    /// <summary>Queues the device object's DPC. (DPC-06)</summary>
    [WdkInline]
    public void IoRequestDpc(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) => KeInsertQueueDpc(DpcOf(DeviceObject), Irp, Context);

    static PKDPC DpcOf(PDEVICE_OBJECT device) => new(device.Address + 0xC8);

    /// <summary>Runs the next DPC of a processor at DISPATCH_LEVEL, on its DPC stack.</summary>
    internal void RunNext(KernelThread thread)
    {
        PKDPC dpc;
        PKDEFERRED_ROUTINE routine;
        PVOID context, argument1, argument2;
        lock (gate)
        {
            if (thread.Dpcs.First is not { } first) return;
            thread.Dpcs.RemoveFirst();
            pendingCount--;
            dpc = first.Value;
            // The object is off the queue before the routine runs, which may queue it again or free it (DPC-02).
            routine = dpc.DeferredRoutine;
            context = dpc.DeferredContext;
            argument1 = dpc.SystemArgument1;
            argument2 = dpc.SystemArgument2;
            dpc.DpcData = default;
            runningCount++;
        }
        byte previous = thread.Irql;
        thread.Irql = DISPATCH_LEVEL;
        thread.InterruptDepth++;
        try
        {
            machine.Events.Emit(new DpcStarted(dpc, routine, thread));
            if (machine.Code.RoutineAt(routine.Address) is null && machine.Guest is { } guest)
                guest.Invoke(thread, routine.Address, dpc.Address, context.Address, argument1.Address, argument2.Address, default, thread.DpcStackBase);
            else
                machine.Code.Call(routine, dpc, context, argument1, argument2);
            machine.Events.Emit(new DpcReturned(dpc, routine, thread));
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
        finally
        {
            thread.InterruptDepth--;
            thread.Irql = previous;
            lock (gate) runningCount--;
        }
    }

    /// <summary>Gives the DPCs of a processor that goes away to another one.</summary>
    internal void Move(KernelThread from, KernelThread to)
    {
        lock (gate)
        {
            while (from.Dpcs.First is { } first)
            {
                from.Dpcs.RemoveFirst();
                first.Value.DpcData = new PVOID(to.Pcr.Address);
                to.Dpcs.AddLast(first.Value);
            }
        }
    }
}
