using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Device queues: requests that wait while their device is busy.</summary>
/// <remarks>A queue is busy from the first insertion, which inserts nothing, until a removal finds it empty (STARTIO-01).</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/setting-up-and-using-device-queues"/>
public sealed class DeviceQueues
{
    readonly Machine machine;

    internal DeviceQueues(Machine machine) => this.machine = machine;

    /// <summary>Prepares a queue that is not busy. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeInitializeDeviceQueue(PKDEVICE_QUEUE DeviceQueue)
    {
        DeviceQueue.Value = new KDEVICE_QUEUE { Type = (short)KOBJECTS.DeviceQueueObject, Size = KDEVICE_QUEUE.SizeOf };
        Lists.Initialize(ListOf(DeviceQueue));
    }

    /// <summary>Appends an entry to a busy queue; makes any other queue busy instead. IRQL = DISPATCH_LEVEL. (STARTIO-01)</summary>
    /// <returns>FALSE when the entry was not inserted: the caller has the device now and begins with the request.</returns>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeInsertDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry) =>
        Insert(DeviceQueue, DeviceQueueEntry, null);

    /// <summary>
    /// Inserts an entry into a busy queue behind those with the same or a lower key; makes any other queue busy instead.
    /// IRQL = DISPATCH_LEVEL. (STARTIO-02)
    /// </summary>
    /// <inheritdoc cref="KeInsertDeviceQueue"/>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeInsertByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry, uint SortKey) =>
        Insert(DeviceQueue, DeviceQueueEntry, SortKey);

    BOOLEAN Insert(PKDEVICE_QUEUE queue, PKDEVICE_QUEUE_ENTRY entry, uint? key)
    {
        machine.SpinLocks.Acquire(LockOf(queue));
        bool busy = queue.Busy;
        queue.Busy = true;
        entry.Inserted = busy;
        if (key is { } sortKey) entry.SortKey = sortKey;
        if (busy) Lists.InsertTail(key is { } k ? FirstAbove(queue, k) : ListOf(queue), new PLIST_ENTRY(entry.Address));
        machine.SpinLocks.Release(LockOf(queue));
        return busy;
    }

    /// <summary>The list's head if there is none.</summary>
    static PLIST_ENTRY FirstAbove(PKDEVICE_QUEUE queue, uint key)
    {
        PLIST_ENTRY entry = ListOf(queue).Flink;
        while (entry != ListOf(queue) && EntryAt(entry).SortKey <= key) entry = entry.Flink;
        return entry;
    }

    /// <summary>Takes the first entry; a queue without any is not busy afterwards. IRQL = DISPATCH_LEVEL. (STARTIO-03)</summary>
    /// <returns>NULL when there was none. A queue that is not busy must not be asked; nothing happens to it.</returns>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public PKDEVICE_QUEUE_ENTRY KeRemoveDeviceQueue(PKDEVICE_QUEUE DeviceQueue) => RemoveNext(DeviceQueue, 0);

    /// <summary>
    /// Takes the first entry whose key is not below <paramref name="SortKey"/>, or else the first of all; a queue without any is not
    /// busy afterwards. IRQL = DISPATCH_LEVEL. (STARTIO-04)
    /// </summary>
    /// <inheritdoc cref="KeRemoveDeviceQueue"/>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public PKDEVICE_QUEUE_ENTRY KeRemoveByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, uint SortKey) => RemoveNext(DeviceQueue, SortKey);

    /// <summary>As <see cref="KeRemoveByKeyDeviceQueue"/>, and allowed for a queue that is not busy. IRQL = DISPATCH_LEVEL.</summary>
    /// <returns>NULL when there was no entry, or the queue is not busy.</returns>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public PKDEVICE_QUEUE_ENTRY KeRemoveByKeyDeviceQueueIfBusy(PKDEVICE_QUEUE DeviceQueue, uint SortKey) => RemoveNext(DeviceQueue, SortKey);

    PKDEVICE_QUEUE_ENTRY RemoveNext(PKDEVICE_QUEUE queue, uint key)
    {
        machine.SpinLocks.Acquire(LockOf(queue));
        PLIST_ENTRY head = ListOf(queue);
        PLIST_ENTRY found = head.Flink;
        while (found != head && EntryAt(found).SortKey < key) found = found.Flink;
        if (found == head) found = head.Flink;
        PKDEVICE_QUEUE_ENTRY entry = default;
        if (found == head)
        {
            queue.Busy = false;
        }
        else
        {
            entry = EntryAt(found);
            Take(entry);
        }
        machine.SpinLocks.Release(LockOf(queue));
        return entry;
    }

    /// <summary>
    /// Takes a certain entry if it is in the queue, which stays busy: its device still works on something else.
    /// IRQL &lt;= DISPATCH_LEVEL. (STARTIO-05)
    /// </summary>
    /// <returns>FALSE when it was not in the queue.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN KeRemoveEntryDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry)
    {
        byte irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(LockOf(DeviceQueue));
        bool inserted = DeviceQueueEntry.Inserted;
        if (inserted) Take(DeviceQueueEntry);
        machine.SpinLocks.KeReleaseSpinLock(LockOf(DeviceQueue), irql);
        return inserted;
    }

    static void Take(PKDEVICE_QUEUE_ENTRY entry)
    {
        Lists.Remove(new PLIST_ENTRY(entry.Address));
        entry.Inserted = false;
    }

    static PLIST_ENTRY ListOf(PKDEVICE_QUEUE queue) => new(queue.Address + 8);

    static PKSPIN_LOCK LockOf(PKDEVICE_QUEUE queue) => new(queue.Address + 0x18);

    static PKDEVICE_QUEUE_ENTRY EntryAt(PLIST_ENTRY entry) => new(entry.Address);
}
