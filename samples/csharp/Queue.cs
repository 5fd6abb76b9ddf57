namespace Irpwright.Samples;

/// <summary>
/// A software device that queues reads and writes and completes one every 10 milliseconds. Twin of <c>queue.c</c>.
/// </summary>
/// <remarks>
/// \Device\Queue0 (\DosDevices\Queue0) is a 64 KiB store, buffered I/O. It starts with a pattern: the byte at offset n is the low
/// byte of n XOR the next higher byte of n. READ and WRITE wait in a list of the driver's own, guarded by a spin lock of its own,
/// until a timer's DPC takes them off one at a time; until then each can be cancelled. Closing a handle cancels what that handle
/// still has in the list.
/// <para>
/// Whoever gets the cancel routine's address out of the IRP owns the IRP: IoSetCancelRoutine and IoCancelIrp exchange it
/// atomically, and exactly one of them finds it. An IRP whose routine is gone already stays in the list, or is linked to itself
/// when the DPC has unlinked it, so that the cancel routine can always unlink it.
/// </para>
/// <para>Pattern: "Using a driver-supplied spin lock" for cancelable IRPs.</para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-a-driver-supplied-spin-lock"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ifs/irp-mj-cleanup"/>
public sealed class Queue : WdmDriver
{
    const uint QUEUE_TAG = 0x75657551; // 'ueuQ'
    const string QUEUE_DEVICE_NAME = @"\Device\Queue0";
    const string QUEUE_LINK_NAME = @"\DosDevices\Queue0";
    const uint QUEUE_STORE_SIZE = 0x10000;
    const int QUEUE_PERIOD_MS = 10;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        PUNICODE_STRING deviceName = RTL_CONSTANT_STRING(QUEUE_DEVICE_NAME);
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(QUEUE_LINK_NAME);

        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<QUEUE_EXTENSION>(), deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PQUEUE_EXTENSION)deviceObject.DeviceExtension;
        extension.Store = (PUCHAR)ExAllocatePoolZero(NonPagedPoolNx, QUEUE_STORE_SIZE, QUEUE_TAG);
        if (extension.Store.IsNull)
        {
            IoDeleteDevice(deviceObject);
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        status = IoCreateSymbolicLink(linkName, deviceName);
        if (!status.IsSuccess)
        {
            ExFreePoolWithTag(extension.Store, QUEUE_TAG);
            IoDeleteDevice(deviceObject);
            return status;
        }

        for (int offset = 0; offset < QUEUE_STORE_SIZE; offset++)
        {
            extension.Store[offset] = (byte)(offset ^ (offset >> 8));
        }

        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.Lock));
        InitializeListHead(PLIST_ENTRY.To(ref extension.Pending));
        KeInitializeTimer(PKTIMER.To(ref extension.Timer));
        KeInitializeDpc(PKDPC.To(ref extension.TimerDpc), QueueTimerDpc, extension);

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(QueueDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(QueueDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(QueueDispatchCleanup);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(QueueDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(QueueDispatchReadWrite);
        DriverObject.DriverUnload = Routine(QueueUnload);

        deviceObject.Flags |= DO_BUFFERED_IO;
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void QueueUnload(PDRIVER_OBJECT DriverObject)
    {
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(QUEUE_LINK_NAME);
        PDEVICE_OBJECT deviceObject = DriverObject.DeviceObject;
        var extension = (PQUEUE_EXTENSION)deviceObject.DeviceExtension;

        // All files are closed, so the list is empty; but the timer may be set, and the last DPC may not have returned yet.
        KeCancelTimer(PKTIMER.To(ref extension.Timer));
        KeFlushQueuedDpcs();

        IoDeleteSymbolicLink(linkName);
        ExFreePoolWithTag(extension.Store, QUEUE_TAG);
        IoDeleteDevice(deviceObject);
    }

    NTSTATUS QueueDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp) => QueueComplete(Irp, STATUS_SUCCESS);

    NTSTATUS QueueDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PQUEUE_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        bool cancelled = false;

        // READ and WRITE share the layout of their parameters.
        if (location.Parameters.Read.ByteOffset < 0)
        {
            return QueueComplete(Irp, STATUS_INVALID_PARAMETER);
        }

        if (location.Parameters.Read.Length == 0)
        {
            return QueueComplete(Irp, STATUS_SUCCESS);
        }

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);

        IoMarkIrpPending(Irp);
        bool first = IsListEmpty(PLIST_ENTRY.To(ref extension.Pending));
        InsertTailList(PLIST_ENTRY.To(ref extension.Pending), PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        IoSetCancelRoutine(Irp, QueueCancel);

        // Cancelled before the routine was set: nobody will call it. Cancelled since: it is waiting for the lock and will complete
        // the IRP.
        if (Irp.Cancel && !IoSetCancelRoutine(Irp, null).IsNull)
        {
            RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
            cancelled = true;
        }
        else if (first)
        {
            QueueStartTimer(extension);
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        if (cancelled)
        {
            QueueComplete(Irp, STATUS_CANCELLED);
        }

        return STATUS_PENDING;
    }

    void QueueCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PQUEUE_EXTENSION)DeviceObject.DeviceExtension;

        IoReleaseCancelSpinLock(Irp.CancelIrql);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);
        RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        QueueComplete(Irp, STATUS_CANCELLED);
    }

    void QueueTimerDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
    {
        var extension = (PQUEUE_EXTENSION)DeferredContext;
        PLIST_ENTRY pending = PLIST_ENTRY.To(ref extension.Pending);
        PIRP irp = default;

        KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK.To(ref extension.Lock));

        while (irp.IsNull && !IsListEmpty(pending))
        {
            irp = (PIRP)CONTAINING_RECORD(RemoveHeadList(pending), (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            if (IoSetCancelRoutine(irp, null).IsNull)
            {
                // The cancel routine has it and is about to unlink it: let it unlink the entry from itself.
                InitializeListHead(PLIST_ENTRY.To(ref irp.Tail.Overlay.ListEntry));
                irp = default;
            }
        }

        if (!irp.IsNull)
        {
            QueueTransfer(extension, irp);
        }

        if (!IsListEmpty(pending))
        {
            QueueStartTimer(extension);
        }

        KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK.To(ref extension.Lock));

        if (!irp.IsNull)
        {
            IoCompleteRequest(irp, IO_NO_INCREMENT);
        }
    }

    NTSTATUS QueueDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PQUEUE_EXTENSION)DeviceObject.DeviceExtension;
        PFILE_OBJECT fileObject = IoGetCurrentIrpStackLocation(Irp).FileObject;
        using LocalVariable<LIST_ENTRY> list = Local<LIST_ENTRY>();
        PLIST_ENTRY cancelled = PLIST_ENTRY.To(ref list.Value);
        PLIST_ENTRY entry;
        PLIST_ENTRY next;

        InitializeListHead(cancelled);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);

        for (entry = extension.Pending.Flink; entry != PLIST_ENTRY.To(ref extension.Pending); entry = next)
        {
            var pending = (PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            next = entry.Flink;

            if (IoGetCurrentIrpStackLocation(pending).FileObject == fileObject && !IoSetCancelRoutine(pending, null).IsNull)
            {
                RemoveEntryList(entry);
                InsertTailList(cancelled, entry);
            }
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        while (!IsListEmpty(cancelled))
        {
            entry = RemoveHeadList(cancelled);
            QueueComplete((PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry), STATUS_CANCELLED);
        }

        return QueueComplete(Irp, STATUS_SUCCESS);
    }

    // Called with the lock held, when the list has become or stays non-empty.
    void QueueStartTimer(PQUEUE_EXTENSION Extension)
    {
        LARGE_INTEGER dueTime = -10000L * QUEUE_PERIOD_MS;

        KeSetTimer(PKTIMER.To(ref Extension.Timer), dueTime, PKDPC.To(ref Extension.TimerDpc));
    }

    // Called with the lock held. Moves the bytes and sets the result, but leaves completing to the caller.
    void QueueTransfer(PQUEUE_EXTENSION Extension, PIRP Irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        long offset = location.Parameters.Read.ByteOffset;
        uint length = location.Parameters.Read.Length;

        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = 0;

        if (offset >= QUEUE_STORE_SIZE)
        {
            Irp.IoStatus.Status = location.MajorFunction == IRP_MJ_READ ? STATUS_END_OF_FILE : STATUS_DISK_FULL;
            return;
        }

        PVOID store = new(Extension.Store.Address + (ulong)offset);
        length = (uint)Math.Min(length, QUEUE_STORE_SIZE - offset);
        if (location.MajorFunction == IRP_MJ_READ)
        {
            RtlCopyMemory(Irp.AssociatedIrp.SystemBuffer, store, length);
        }
        else
        {
            RtlCopyMemory(store, Irp.AssociatedIrp.SystemBuffer, length);
        }

        Irp.IoStatus.Information = length;
    }

    NTSTATUS QueueComplete(PIRP Irp, NTSTATUS Status)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }
}

struct QUEUE_EXTENSION
{
    public KSPIN_LOCK Lock; // guards Pending and Store
    public LIST_ENTRY Pending;
    public KTIMER Timer;
    public KDPC TimerDpc;
    public PUCHAR Store;
}

[PointerTo(typeof(QUEUE_EXTENSION))] readonly partial struct PQUEUE_EXTENSION;
