using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Work items: routines that system worker threads run at PASSIVE_LEVEL (DPC-09).</summary>
/// <remarks>Workers are started when an item finds none idle, up to as many as Windows keeps for one queue.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/system-worker-threads"/>
public sealed class WorkItems
{
    const uint Tag = 0x4977_6F49; // "IowI"
    const int MaximumWorkers = 7;
    const int PriorityCount = 32;
    const short DeviceObjectType = 3;
    const short DriverObjectType = 4;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Queue<Entry> queue = new();
    readonly HashSet<ulong> queued = [];
    // Longest idle first.
    readonly List<KernelThread> idleWorkers = [];
    int workers;

    internal WorkItems(Machine machine) => this.machine = machine;

    enum Kind : byte
    {
        Executive,
        Io,
        IoEx,
    }

    readonly record struct Entry(ulong Item, Kind Kind);

    /// <summary>Items that are queued and have not begun to run.</summary>
    public int QueuedCount
    {
        get { lock (gate) return queue.Count; }
    }

    /// <summary>Allocates a work item for a device. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>NULL when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Null)]
    public PIO_WORKITEM IoAllocateWorkItem(PDEVICE_OBJECT DeviceObject, [Caller] ulong caller = 0)
    {
        var item = new PIO_WORKITEM(machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, IO_WORKITEM.SizeOf, Tag, caller));
        if (!item.IsNull) IoInitializeWorkItem(DeviceObject, item);
        return item;
    }

    /// <summary>Frees a work item that is not queued; its own routine may. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">WORKER_INVALID: it is queued.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoFreeWorkItem(PIO_WORKITEM IoWorkItem)
    {
        RequireNotQueued(IoWorkItem, "freed");
        machine.Pool.Free(IoWorkItem.Address, Tag);
    }

    /// <summary>Bytes that a work item takes, for IoInitializeWorkItem. Any IRQL.</summary>
    [KernelExport]
    public uint IoSizeofWorkItem() => IO_WORKITEM.SizeOf;

    /// <summary>Prepares a work item in the driver's own memory. Any IRQL.</summary>
    /// <param name="IoObject">A device or driver object.</param>
    /// <exception cref="BugCheckException">WORKER_INVALID: it is neither.</exception>
    [KernelExport]
    public void IoInitializeWorkItem(PVOID IoObject, PIO_WORKITEM IoWorkItem)
    {
        if (IoObject.IsNull || GuestMemory.Ref<short>(IoObject.Address) is not (DeviceObjectType or DriverObjectType))
        {
            throw machine.BugChecks.Stop(BugCheckCode.WORKER_INVALID, 3, IoWorkItem.Address, IoObject.Address, 0,
                $"A work item was made for {IoObject}, which is neither a device nor a driver object.");
        }
        IoWorkItem.Value = new IO_WORKITEM { IoObject = IoObject };
    }

    /// <summary>Ends the use of a work item that IoInitializeWorkItem prepared. Any IRQL.</summary>
    /// <exception cref="BugCheckException">WORKER_INVALID: it is queued.</exception>
    [KernelExport]
    public void IoUninitializeWorkItem(PIO_WORKITEM IoWorkItem)
    {
        RequireNotQueued(IoWorkItem, "uninitialised");
        IoWorkItem.IoObject = default;
    }

    /// <summary>
    /// Has a worker call <c>WorkerRoutine(DeviceObject, Context)</c> once; the object stays referenced until it returned
    /// (DPC-09). IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <exception cref="BugCheckException">WORKER_INVALID: it is queued already, or has no routine.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoQueueWorkItem(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE WorkerRoutine, WORK_QUEUE_TYPE QueueType, PVOID Context) =>
        QueueIo(IoWorkItem, WorkerRoutine.Address, Kind.Io, QueueType, Context);

    /// <summary>Has a worker call <c>WorkerRoutine(IoObject, Context, IoWorkItem)</c> once. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="IoQueueWorkItem"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoQueueWorkItemEx(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE_EX WorkerRoutine, WORK_QUEUE_TYPE QueueType,
        PVOID Context) =>
        QueueIo(IoWorkItem, WorkerRoutine.Address, Kind.IoEx, QueueType, Context);

    /// <summary>Prepares a work item that belongs to no object.</summary>
    [WdkInline]
    public void ExInitializeWorkItem(PWORK_QUEUE_ITEM Item, PWORKER_THREAD_ROUTINE Routine, PVOID Context)
    {
        Item.WorkerRoutine = Routine;
        Item.Parameter = Context;
        Item.List.Flink = default;
    }

    /// <summary>Has a worker call the item's routine once; it keeps nothing from being unloaded. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">WORKER_INVALID: it is queued already, or has no routine.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExQueueWorkItem(PWORK_QUEUE_ITEM WorkItem, WORK_QUEUE_TYPE QueueType)
    {
        RequireQueueable(WorkItem, WorkItem.WorkerRoutine.Address, QueueType);
        Enqueue(new Entry(WorkItem.Address, Kind.Executive), default, WorkItem.WorkerRoutine.Address, QueueType);
    }

    void QueueIo(PIO_WORKITEM item, ulong routine, Kind kind, WORK_QUEUE_TYPE queueType, PVOID context)
    {
        RequireQueueable(item, routine, queueType);
        // Referenced first: once queued, the routine may run and free everything.
        PVOID ioObject = item.IoObject;
        machine.Objects.ObfReferenceObject(ioObject);
        item.Routine = new PVOID(routine);
        item.Context = context;
        Enqueue(new Entry(item.Address, kind), ioObject, routine, queueType);
    }

    void Enqueue(Entry entry, PVOID ioObject, ulong routine, WORK_QUEUE_TYPE queueType)
    {
        KernelThread? worker;
        bool start;
        lock (gate)
        {
            if (!queued.Add(entry.Item)) QueuedTwice(entry.Item, queueType);
            queue.Enqueue(entry);
            machine.Events.Emit(new WorkItemQueued(new PVOID(entry.Item), ioObject, routine));
            worker = idleWorkers.FirstOrDefault();
            if (worker is not null) idleWorkers.RemoveAt(0);
            start = worker is null && workers < MaximumWorkers;
            if (start) workers++;
        }
        if (worker is not null)
            machine.Scheduler.Unblock(worker);
        else if (start)
            machine.Scheduler.Start("worker", ThreadKind.System, Work);
        if (machine.TryGetCurrentThread() is { } thread) machine.Scheduler.Yield(thread, SchedulingPoint.Wake);
    }

    void Work()
    {
        KernelThread thread = machine.CurrentThread;
        Func<bool> hasWork = () =>
        {
            lock (gate)
            {
                if (queue.Count == 0)
                {
                    if (!idleWorkers.Contains(thread)) idleWorkers.Add(thread);
                    return false;
                }
                // Also one that woke of itself, and takes what another was woken for, is not idle any more.
                idleWorkers.Remove(thread);
                return true;
            }
        };
        while (true)
        {
            machine.Dispatcher.WaitUntil(thread, hasWork, "waits for work items");
            if (TryDequeue(out Entry entry)) Run(thread, entry);
        }
    }

    // An item is off the queue before its routine runs, which may queue it again or free it.
    bool TryDequeue(out Entry entry)
    {
        lock (gate)
        {
            if (!queue.TryDequeue(out entry)) return false;
            queued.Remove(entry.Item);
            return true;
        }
    }

    void Run(KernelThread thread, Entry entry)
    {
        if (entry.Kind == Kind.Executive)
        {
            PWORK_QUEUE_ITEM work = new(entry.Item);
            PWORKER_THREAD_ROUTINE routine = work.WorkerRoutine;
            PVOID parameter = work.Parameter;
            work.List.Flink = default;
            machine.Events.Emit(new WorkItemStarted(work, default, routine.Address));
            machine.Code.Call(routine, parameter);
            RequireRestored(thread, routine.Address, parameter, work);
            machine.Events.Emit(new WorkItemReturned(work, routine.Address));
            return;
        }
        PIO_WORKITEM item = new(entry.Item);
        PVOID ioObject = item.IoObject;
        PVOID context = item.Context;
        ulong address = item.Routine.Address;
        machine.Events.Emit(new WorkItemStarted(item, ioObject, address));
        if (entry.Kind == Kind.Io)
            machine.Code.Call(new PIO_WORKITEM_ROUTINE(address), new PDEVICE_OBJECT(ioObject.Address), context);
        else
            machine.Code.Call(new PIO_WORKITEM_ROUTINE_EX(address), ioObject, context, item);
        RequireRestored(thread, address, context, item);
        machine.Events.Emit(new WorkItemReturned(item, address));
        machine.Objects.ObfDereferenceObject(ioObject);
    }

    void RequireRestored(KernelThread thread, ulong routine, PVOID parameter, PVOID item)
    {
        if (thread.Irql != PASSIVE_LEVEL)
        {
            throw machine.BugChecks.Stop(BugCheckCode.WORKER_THREAD_RETURNED_AT_BAD_IRQL, routine, thread.Irql, parameter.Address, item.Address,
                $"The work item routine at {Format.Address(routine)} returned at IRQL {thread.Irql}.");
        }
        machine.Apcs.RequireEnabled(thread, routine);
    }

    void RequireNotQueued(PIO_WORKITEM item, string what)
    {
        lock (gate)
        {
            if (!queued.Contains(item.Address)) return;
        }
        throw machine.BugChecks.Stop(BugCheckCode.WORKER_INVALID, 2, item.Address, item.Routine.Address, 0,
            $"The work item at {item} was {what} while it is queued.");
    }

    void RequireQueueable(PVOID item, ulong routine, WORK_QUEUE_TYPE queueType)
    {
        bool isQueued;
        lock (gate) isQueued = queued.Contains(item.Address);
        if (isQueued) QueuedTwice(item.Address, queueType);
        if (queueType is not (>= 0 and < WORK_QUEUE_TYPE.MaximumWorkQueue or >= WORK_QUEUE_TYPE.CustomPriorityWorkQueue and < WORK_QUEUE_TYPE.CustomPriorityWorkQueue + PriorityCount))
        {
            throw machine.BugChecks.Stop(BugCheckCode.WORKER_INVALID, 6, item.Address, (ulong)queueType, 0,
                $"The work item at {item} was queued to queue {(int)queueType}, which there is not.");
        }
        if (routine == 0)
        {
            throw machine.BugChecks.Stop(BugCheckCode.WORKER_INVALID, 7, item.Address, (ulong)queueType, 0,
                $"The work item at {item} was queued without a routine.");
        }
    }

    [DoesNotReturn]
    void QueuedTwice(ulong item, WORK_QUEUE_TYPE queueType) =>
        throw machine.BugChecks.Stop(BugCheckCode.WORKER_INVALID, 1, item, (ulong)queueType, 0,
            $"The work item at {Format.Address(item)} was queued while it is still queued.");
}
