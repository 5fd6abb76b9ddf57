using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Queue objects: threads wait for entries.</summary>
/// <remarks>
/// SignalState is the number of entries that no thread was given. Every guest thread has a processor of its own, so the number
/// of threads that a queue lets run at a time (MaximumCount) holds nobody back.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/driver-managed-irp-queues"/>
public sealed class Queues
{
    readonly Machine machine;
    readonly Lock gate = new();

    internal Queues(Machine machine) => this.machine = machine;

    /// <summary>Prepares an empty queue. Any IRQL.</summary>
    /// <param name="Count">Threads that it lets run at a time; 0 means one for each processor.</param>
    [KernelExport]
    public void KeInitializeQueue(PKQUEUE Queue, uint Count)
    {
        Queue.Value = default;
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(Queue.Address), (byte)KOBJECTS.QueueObject, KQUEUE.SizeOf, 0);
        Lists.Initialize(EntriesOf(Queue));
        Lists.Initialize(new PLIST_ENTRY(Queue.Address + 0x30));
        Queue.MaximumCount = Count;
    }

    /// <summary>Adds an entry behind the others, or gives it to a waiting thread. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The number of entries before.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeInsertQueue(PKQUEUE Queue, PLIST_ENTRY Entry) => Insert(Queue, Entry, EntriesOf(Queue));

    /// <summary>Adds an entry before the others. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="KeInsertQueue"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeInsertHeadQueue(PKQUEUE Queue, PLIST_ENTRY Entry) => Insert(Queue, Entry, null);

    int Insert(PKQUEUE queue, PLIST_ENTRY entry, PLIST_ENTRY? before)
    {
        lock (gate) Lists.InsertTail(before ?? EntriesOf(queue).Flink, entry);
        return machine.Dispatcher.Release(new PDISPATCHER_HEADER(queue.Address), 1);
    }

    /// <summary>Takes the first entry, waiting for one if there is none. IRQL &lt;= APC_LEVEL, or DISPATCH_LEVEL with a zero timeout.</summary>
    /// <param name="Timeout">100 ns units: negative = relative, positive = system time, 0 = do not wait, null = for ever.</param>
    /// <returns>The entry, or a status in place of an address: STATUS_TIMEOUT, STATUS_USER_APC.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PLIST_ENTRY KeRemoveQueue(PKQUEUE Queue, MODE WaitMode, long? Timeout)
    {
        NTSTATUS status = machine.Dispatcher.KeWaitForSingleObject(Queue, KWAIT_REASON.WrQueue, WaitMode, false, Timeout);
        return status == NTSTATUS.STATUS_SUCCESS ? TakeFirst(Queue) : new PLIST_ENTRY((uint)status);
    }

    PLIST_ENTRY TakeFirst(PKQUEUE queue)
    {
        lock (gate)
        {
            PLIST_ENTRY first = EntriesOf(queue).Flink;
            Lists.Remove(first);
            return first;
        }
    }

    static PLIST_ENTRY EntriesOf(PKQUEUE queue) => new(queue.Address + 0x18);
}
