using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Deferred procedure calls.</summary>
public sealed class Dpcs
{
    const byte MediumImportance = 1;
    const byte HighImportance = 2;
    // Added to the number of a chosen processor; in Windows too, 0 stands for the processor that queues.
    const ushort MaximumProcessors = 0x800;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly LinkedList<PKDPC> threaded = [];
    KernelThread? threadedWorker;
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
    /// Whether threaded DPCs run in a thread; if not, they run as ordinary DPCs, as on a system with the registry value
    /// ThreadDpcEnable 0. (DPC-07)
    /// </summary>
    public bool AreThreadedDpcsEnabled { get; set; } = true;

    /// <summary>Prepares a DPC object of medium importance whose routine runs at PASSIVE_LEVEL, in a thread of the system. Any IRQL. (DPC-07)</summary>
    [KernelExport]
    public void KeInitializeThreadedDpc(PKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
    {
        KeInitializeDpc(Dpc, DeferredRoutine, DeferredContext);
        Dpc.Type = ThreadedDpcObject;
    }

    /// <summary>Chooses the processor of a DPC in group 0, before it is queued; it runs on the one that queues it all the same. Any IRQL.</summary>
    [KernelExport]
    public void KeSetTargetProcessorDpc(PKDPC Dpc, sbyte Number) => Dpc.Number = (ushort)(MaximumProcessors + (byte)Number);

    /// <summary>Chooses the processor of a DPC, before it is queued; it runs on the one that queues it all the same. Any IRQL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER for a processor that does not exist.</returns>
    [KernelExport]
    public NTSTATUS KeSetTargetProcessorDpcEx(PKDPC Dpc, in PROCESSOR_NUMBER ProcNumber)
    {
        if (ProcNumber.Group != 0 || ProcNumber.Number >= Processors.Count || ProcNumber.Reserved != 0) return NTSTATUS.STATUS_INVALID_PARAMETER;
        KeSetTargetProcessorDpc(Dpc, (sbyte)ProcNumber.Number);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>
    /// Queues a DPC to the current processor; FALSE, and no change, if it is queued already. Any IRQL. (DPC-01, DPC-05)
    /// </summary>
    [KernelExport]
    public BOOLEAN KeInsertQueueDpc(PKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
    {
        if (Insert(Dpc, SystemArgument1, SystemArgument2) is not { } follows) return false;
        machine.Scheduler.Yield(machine.CurrentThread, follows);
        return true;
    }

    /// <summary>Queues a DPC, and lets nothing come first: the caller may hold a lock of the kernel's.</summary>
    /// <returns>The scheduling point that the caller owes; null if it was queued already.</returns>
    internal SchedulingPoint? Insert(PKDPC dpc, PVOID argument1, PVOID argument2)
    {
        KernelThread thread = machine.CurrentThread;
        bool isThreaded;
        lock (gate)
        {
            if (!dpc.DpcData.IsNull) return null;
            dpc.SystemArgument1 = argument1;
            dpc.SystemArgument2 = argument2;
            dpc.DpcData = new PVOID(thread.Pcr.Address);
            isThreaded = dpc.Type == ThreadedDpcObject && AreThreadedDpcsEnabled;
            LinkedList<PKDPC> queue = isThreaded ? threaded : thread.Dpcs;
            if (dpc.Importance == HighImportance) queue.AddFirst(dpc);
            else queue.AddLast(dpc);
            if (!isThreaded) pendingCount++;
            machine.Events.Emit(new DpcQueued(dpc));
        }
        if (isThreaded) WakeThreadedWorker();
        return isThreaded ? SchedulingPoint.Wake : SchedulingPoint.DpcQueued;
    }

    /// <summary>Takes a DPC out of its queue; FALSE if it was not queued. Any IRQL. (DPC-04)</summary>
    [KernelExport]
    public BOOLEAN KeRemoveQueueDpc(PKDPC Dpc)
    {
        lock (gate)
        {
            if (Dpc.DpcData.IsNull) return false;
            Dpc.DpcData = default;
            machine.Events.Emit(new DpcRemoved(Dpc));
            if (threaded.Remove(Dpc)) return true;
            foreach (KernelThread thread in machine.Scheduler.Threads)
            {
                if (thread.Dpcs.Remove(Dpc)) break;
            }
            pendingCount--;
            return true;
        }
    }

    /// <summary>Waits until every DPC that is queued now has run. IRQL = PASSIVE_LEVEL. (DPC-04)</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void KeFlushQueuedDpcs()
    {
        KernelThread thread = machine.CurrentThread;
        while (AreAny())
        {
            RunNext(thread);
            machine.Scheduler.Yield(thread, SchedulingPoint.Spin);
        }
    }

    // Together, under the lock: between its queue and its routine a DPC is in neither count.
    bool AreAny()
    {
        lock (gate) return pendingCount + runningCount + threaded.Count > 0;
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

    void WakeThreadedWorker()
    {
        KernelThread? worker;
        lock (gate) worker = threadedWorker;
        if (worker is not null) machine.Scheduler.Unblock(worker);
        else if (Interlocked.Exchange(ref threadedWorkerStarted, 1) == 0) machine.Scheduler.Start("threaded DPCs", ThreadKind.System, RunThreaded);
    }

    int threadedWorkerStarted;

    void RunThreaded()
    {
        KernelThread thread = machine.CurrentThread;
        lock (gate) threadedWorker = thread;
        while (true)
        {
            machine.Dispatcher.WaitUntil(thread, () => threaded.Count > 0, "waits for threaded DPCs");
            Run(thread, threaded, PASSIVE_LEVEL);
        }
    }

    /// <summary>Runs the next DPC of a processor at DISPATCH_LEVEL, on its DPC stack.</summary>
    internal void RunNext(KernelThread thread) => Run(thread, thread.Dpcs, DISPATCH_LEVEL);

    void Run(KernelThread thread, LinkedList<PKDPC> queue, byte irql)
    {
        PKDPC dpc;
        PKDEFERRED_ROUTINE routine;
        PVOID context, argument1, argument2;
        lock (gate)
        {
            if (queue.First is not { } first) return;
            queue.RemoveFirst();
            if (queue != threaded) pendingCount--;
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
        thread.Irql = irql;
        bool borrowsThread = irql >= DISPATCH_LEVEL;
        if (borrowsThread) thread.InterruptDepth++;
        try
        {
            machine.Events.Emit(new DpcStarted(dpc, routine, thread));
            if (borrowsThread && machine.Code.RoutineAt(routine.Address) is null && machine.Guest is { } guest)
                guest.Invoke(thread, routine.Address, dpc.Address, context.Address, argument1.Address, argument2.Address, default,
                    thread.DpcStackBase, thread.DpcStackLimit);
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
            if (borrowsThread) thread.InterruptDepth--;
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
