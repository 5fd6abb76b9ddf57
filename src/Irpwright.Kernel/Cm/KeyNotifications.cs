using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Tells drivers that something about a key has changed.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-zwnotifychangekey"/>
public sealed class KeyNotifications
{
    const uint Known = REG_NOTIFY_CHANGE_NAME | REG_NOTIFY_CHANGE_ATTRIBUTES | REG_NOTIFY_CHANGE_LAST_SET | REG_NOTIFY_CHANGE_SECURITY;

    readonly Machine machine;
    // Guarded by the registry's lock.
    readonly List<Request> requests = [];
    ulong lastId;

    internal KeyNotifications(Machine machine) => this.machine = machine;

    /// <param name="Body">The key object of the handle: the request ends with it.</param>
    /// <param name="Event">Referenced; null for none.</param>
    sealed record Request(RegistryKey Key, ulong Body, uint Filter, bool WatchesTree, PKEVENT Event, PWORK_QUEUE_ITEM WorkItem, WORK_QUEUE_TYPE Queue,
        PIO_STATUS_BLOCK Block)
    {
        internal bool IsOver { get; set; }

        internal NTSTATUS Status { get; set; }

        internal KernelThread? Waiter { get; init; }
    }

    /// <summary>Waits for the next change of a key, or has it reported. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Event">An event object that is set; 0 for none.</param>
    /// <param name="ApcRoutine">For callers in kernel mode a WORK_QUEUE_ITEM that is queued; may be null.</param>
    /// <param name="ApcContext">Its WORK_QUEUE_TYPE.</param>
    /// <param name="CompletionFilter">REG_NOTIFY_CHANGE_*.</param>
    /// <param name="WatchTree">Whether changes below the key count.</param>
    /// <param name="Buffer">Reserved: null.</param>
    /// <param name="BufferSize">Reserved: 0.</param>
    /// <returns>
    /// STATUS_PENDING for an asynchronous call. STATUS_NOTIFY_CLEANUP: the handle was closed or the key deleted. STATUS_INVALID_PARAMETER,
    /// STATUS_INVALID_HANDLE, STATUS_KEY_DELETED.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwNotifyChangeKey(HANDLE KeyHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
        uint CompletionFilter, BOOLEAN WatchTree, PVOID Buffer, uint BufferSize, BOOLEAN Asynchronous)
    {
        if (CompletionFilter == 0 || (CompletionFilter & ~Known) != 0 || !Buffer.IsNull || BufferSize != 0) return STATUS_INVALID_PARAMETER;
        NTSTATUS status = machine.Registry.Find(KeyHandle, out RegistryKey key, out ulong body);
        if (status < 0) return status;
        PKEVENT signal = default;
        if (!Event.IsNull)
        {
            status = machine.Handles.Find(Event, 0, machine.Objects.Types.Event, MODE.KernelMode, out HandleEntry? entry);
            if (status < 0) return status;
            signal = new PKEVENT(entry!.Object.Address);
            machine.Objects.ObfReferenceObject(signal);
            machine.Dispatcher.KeClearEvent(signal);
        }
        KernelThread thread = machine.CurrentThread;
        var request = new Request(key, body, CompletionFilter, WatchTree, signal, new PWORK_QUEUE_ITEM(ApcRoutine.Address), (WORK_QUEUE_TYPE)ApcContext.Address, IoStatusBlock)
        {
            Waiter = Asynchronous ? null : thread,
        };
        lock (machine.Registry.Gate) requests.Add(request);
        if (Asynchronous) return STATUS_PENDING;
        machine.Dispatcher.WaitUntil(thread, () => request.IsOver, "waits for a change of a registry key");
        return request.Status;
    }

    internal ulong NextId() => Interlocked.Increment(ref lastId);

    /// <summary>Something has changed; the registry's lock is held.</summary>
    internal void Changed(RegistryKey key, uint what)
    {
        if (requests.Count > 0) End(STATUS_SUCCESS, r => (r.Filter & what) != 0 && (r.Key == key || (r.WatchesTree && IsBelow(key, r.Key))));
    }

    static bool IsBelow(RegistryKey? key, RegistryKey top)
    {
        for (key = key?.Parent; key is not null; key = key.Parent) if (key == top) return true;
        return false;
    }

    /// <summary>A key is deleted; the registry's lock is held.</summary>
    internal void Deleted(RegistryKey key)
    {
        if (requests.Count > 0) End(STATUS_NOTIFY_CLEANUP, r => r.Key == key);
    }

    /// <summary>The last handle to a key object is closed.</summary>
    internal void Closed(ulong body)
    {
        lock (machine.Registry.Gate) if (requests.Count > 0) End(STATUS_NOTIFY_CLEANUP, r => r.Body == body);
    }

    void End(NTSTATUS status, Predicate<Request> which)
    {
        List<Request> ended = requests.FindAll(which);
        if (ended.Count == 0) return;
        requests.RemoveAll(which);
        // Whoever changed the key holds the registry's lock.
        machine.Scheduler.Start("registry", ThreadKind.System, () => { foreach (Request request in ended) Report(request, status); });
    }

    void Report(Request request, NTSTATUS status)
    {
        request.Block.Value = new IO_STATUS_BLOCK { Status = status };
        request.Status = status;
        request.IsOver = true;
        if (!request.Event.IsNull)
        {
            machine.Dispatcher.KeSetEvent(request.Event, 0, false);
            machine.Objects.ObfDereferenceObject(request.Event);
        }
        if (!request.WorkItem.IsNull) machine.WorkItems.ExQueueWorkItem(request.WorkItem, request.Queue);
        if (request.Waiter is { } waiter) machine.Scheduler.Unblock(waiter);
    }
}
