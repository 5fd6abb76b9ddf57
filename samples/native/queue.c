/*
 * queue.c: a software device that queues reads and writes and completes one every 10 milliseconds.
 *
 * \Device\Queue0 (\DosDevices\Queue0) is a 64 KiB store, buffered I/O. It starts with a pattern: the byte at offset n is the low byte of n
 * XOR the next higher byte of n. READ and WRITE wait in a list of the driver's own, guarded by a spin lock of its own, until a timer's DPC
 * takes them off one at a time; until then each can be cancelled. Closing a handle cancels what that handle still has in the list.
 *
 * Whoever gets the cancel routine's address out of the IRP owns the IRP: IoSetCancelRoutine and IoCancelIrp exchange it atomically, and
 * exactly one of them finds it. An IRP whose routine is gone already stays in the list, or is linked to itself when the DPC has unlinked
 * it, so that the cancel routine can always unlink it.
 *
 * Pattern: "Using a driver-supplied spin lock" for cancelable IRPs.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-a-driver-supplied-spin-lock
 *   https://learn.microsoft.com/windows-hardware/drivers/ifs/irp-mj-cleanup
 */
#include "wdk.h"

#define QUEUE_TAG 'ueuQ'
#define QUEUE_DEVICE_NAME L"\\Device\\Queue0"
#define QUEUE_LINK_NAME L"\\DosDevices\\Queue0"
#define QUEUE_STORE_SIZE 0x10000
#define QUEUE_PERIOD_MS 10

typedef struct _QUEUE_EXTENSION {
    KSPIN_LOCK Lock; /* guards Pending and Store */
    LIST_ENTRY Pending;
    KTIMER Timer;
    KDPC TimerDpc;
    PUCHAR Store;
} QUEUE_EXTENSION, *PQUEUE_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD QueueUnload;
DRIVER_DISPATCH QueueDispatchCreateClose;
DRIVER_DISPATCH QueueDispatchReadWrite;
DRIVER_DISPATCH QueueDispatchCleanup;
DRIVER_CANCEL QueueCancel;
KDEFERRED_ROUTINE QueueTimerDpc;

static VOID QueueStartTimer(PQUEUE_EXTENSION Extension);
static VOID QueueTransfer(PQUEUE_EXTENSION Extension, PIRP Irp);
static NTSTATUS QueueComplete(PIRP Irp, NTSTATUS Status);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(QUEUE_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(QUEUE_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    PQUEUE_EXTENSION extension;
    NTSTATUS status;
    ULONG offset;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = IoCreateDevice(
        DriverObject, sizeof(QUEUE_EXTENSION), &deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    extension->Store = ExAllocatePoolZero(NonPagedPoolNx, QUEUE_STORE_SIZE, QUEUE_TAG);
    if (extension->Store == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = IoCreateSymbolicLink(&linkName, &deviceName);
    if (!NT_SUCCESS(status)) {
        ExFreePoolWithTag(extension->Store, QUEUE_TAG);
        IoDeleteDevice(deviceObject);
        return status;
    }

    for (offset = 0; offset < QUEUE_STORE_SIZE; offset++) {
        extension->Store[offset] = (UCHAR)(offset ^ (offset >> 8));
    }

    KeInitializeSpinLock(&extension->Lock);
    InitializeListHead(&extension->Pending);
    KeInitializeTimer(&extension->Timer);
    KeInitializeDpc(&extension->TimerDpc, QueueTimerDpc, extension);

    DriverObject->MajorFunction[IRP_MJ_CREATE] = QueueDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = QueueDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = QueueDispatchCleanup;
    DriverObject->MajorFunction[IRP_MJ_READ] = QueueDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = QueueDispatchReadWrite;
    DriverObject->DriverUnload = QueueUnload;

    deviceObject->Flags |= DO_BUFFERED_IO;
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID QueueUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(QUEUE_LINK_NAME);
    PDEVICE_OBJECT deviceObject = DriverObject->DeviceObject;
    PQUEUE_EXTENSION extension = deviceObject->DeviceExtension;

    /* All files are closed, so the list is empty; but the timer may be set, and the last DPC may not have returned yet. */
    KeCancelTimer(&extension->Timer);
    KeFlushQueuedDpcs();

    IoDeleteSymbolicLink(&linkName);
    ExFreePoolWithTag(extension->Store, QUEUE_TAG);
    IoDeleteDevice(deviceObject);
}

NTSTATUS QueueDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return QueueComplete(Irp, STATUS_SUCCESS);
}

NTSTATUS QueueDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PQUEUE_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN cancelled = FALSE;
    BOOLEAN first;
    KIRQL irql;

    /* READ and WRITE share the layout of their parameters. */
    if (location->Parameters.Read.ByteOffset.QuadPart < 0) {
        return QueueComplete(Irp, STATUS_INVALID_PARAMETER);
    }

    if (location->Parameters.Read.Length == 0) {
        return QueueComplete(Irp, STATUS_SUCCESS);
    }

    KeAcquireSpinLock(&extension->Lock, &irql);

    IoMarkIrpPending(Irp);
    first = IsListEmpty(&extension->Pending);
    InsertTailList(&extension->Pending, &Irp->Tail.Overlay.ListEntry);
    IoSetCancelRoutine(Irp, QueueCancel);

    /* Cancelled before the routine was set: nobody will call it. Cancelled since: it is waiting for the lock and will complete the IRP. */
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
        cancelled = TRUE;
    } else if (first) {
        QueueStartTimer(extension);
    }

    KeReleaseSpinLock(&extension->Lock, irql);

    if (cancelled) {
        QueueComplete(Irp, STATUS_CANCELLED);
    }

    return STATUS_PENDING;
}

VOID QueueCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PQUEUE_EXTENSION extension = DeviceObject->DeviceExtension;
    KIRQL irql;

    IoReleaseCancelSpinLock(Irp->CancelIrql);

    KeAcquireSpinLock(&extension->Lock, &irql);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->Lock, irql);

    QueueComplete(Irp, STATUS_CANCELLED);
}

VOID QueueTimerDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PQUEUE_EXTENSION extension = DeferredContext;
    PIRP irp = NULL;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    KeAcquireSpinLockAtDpcLevel(&extension->Lock);

    while (irp == NULL && !IsListEmpty(&extension->Pending)) {
        irp = CONTAINING_RECORD(RemoveHeadList(&extension->Pending), IRP, Tail.Overlay.ListEntry);

        if (IoSetCancelRoutine(irp, NULL) == NULL) {
            /* The cancel routine has it and is about to unlink it: let it unlink the entry from itself. */
            InitializeListHead(&irp->Tail.Overlay.ListEntry);
            irp = NULL;
        }
    }

    if (irp != NULL) {
        QueueTransfer(extension, irp);
    }

    if (!IsListEmpty(&extension->Pending)) {
        QueueStartTimer(extension);
    }

    KeReleaseSpinLockFromDpcLevel(&extension->Lock);

    if (irp != NULL) {
        IoCompleteRequest(irp, IO_NO_INCREMENT);
    }
}

NTSTATUS QueueDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PQUEUE_EXTENSION extension = DeviceObject->DeviceExtension;
    PFILE_OBJECT fileObject = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    LIST_ENTRY cancelled;
    PLIST_ENTRY entry;
    PLIST_ENTRY next;
    KIRQL irql;

    InitializeListHead(&cancelled);

    KeAcquireSpinLock(&extension->Lock, &irql);

    for (entry = extension->Pending.Flink; entry != &extension->Pending; entry = next) {
        PIRP pending = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);

        next = entry->Flink;

        if (IoGetCurrentIrpStackLocation(pending)->FileObject == fileObject && IoSetCancelRoutine(pending, NULL) != NULL) {
            RemoveEntryList(entry);
            InsertTailList(&cancelled, entry);
        }
    }

    KeReleaseSpinLock(&extension->Lock, irql);

    while (!IsListEmpty(&cancelled)) {
        entry = RemoveHeadList(&cancelled);
        QueueComplete(CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry), STATUS_CANCELLED);
    }

    return QueueComplete(Irp, STATUS_SUCCESS);
}

/* Called with the lock held, when the list has become or stays non-empty. */
static VOID QueueStartTimer(PQUEUE_EXTENSION Extension)
{
    LARGE_INTEGER dueTime;

    dueTime.QuadPart = -10000LL * QUEUE_PERIOD_MS;
    KeSetTimer(&Extension->Timer, dueTime, &Extension->TimerDpc);
}

/* Called with the lock held. Moves the bytes and sets the result, but leaves completing to the caller. */
static VOID QueueTransfer(PQUEUE_EXTENSION Extension, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    LONGLONG offset = location->Parameters.Read.ByteOffset.QuadPart;
    ULONG length = location->Parameters.Read.Length;

    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;

    if (offset >= QUEUE_STORE_SIZE) {
        Irp->IoStatus.Status = location->MajorFunction == IRP_MJ_READ ? STATUS_END_OF_FILE : STATUS_DISK_FULL;
        return;
    }

    length = (ULONG)min(length, QUEUE_STORE_SIZE - offset);
    if (location->MajorFunction == IRP_MJ_READ) {
        RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, Extension->Store + offset, length);
    } else {
        RtlCopyMemory(Extension->Store + offset, Irp->AssociatedIrp.SystemBuffer, length);
    }

    Irp->IoStatus.Information = length;
}

static NTSTATUS QueueComplete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
