/*
 * csq.c: a software device that answers reads from writes: a READ waits in a cancel-safe queue until a WRITE brings its bytes.
 *
 * \Device\Csq0 (\DosDevices\Csq0), buffered I/O. A WRITE completes the READ that has waited longest, with as many bytes as both have room
 * for; without one it fails with STATUS_DEVICE_NOT_READY. At most CSQ_LIMIT reads wait; one more fails with STATUS_DEVICE_BUSY. A waiting
 * READ can be cancelled, and closing a handle cancels what that handle still has in the queue.
 *
 * The driver has no cancel routine, and takes no lock but in the two routines whose business that is: the framework calls all of them in
 * the right order, and gives each IRP either to whoever removes it or to CsqCompleteCanceledIrp, never to both.
 *
 * Pattern: "Cancel-Safe IRP Queues".
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-safe-irp-queues
 */
#include "wdk.h"

#define CSQ_DEVICE_NAME L"\\Device\\Csq0"
#define CSQ_LINK_NAME L"\\DosDevices\\Csq0"
#define CSQ_LIMIT 4

typedef struct _CSQ_EXTENSION {
    IO_CSQ Queue;
    KSPIN_LOCK Lock; /* guards Pending and Count */
    LIST_ENTRY Pending;
    ULONG Count;
} CSQ_EXTENSION, *PCSQ_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD CsqUnload;
DRIVER_DISPATCH CsqDispatchCreateClose;
DRIVER_DISPATCH CsqDispatchRead;
DRIVER_DISPATCH CsqDispatchWrite;
DRIVER_DISPATCH CsqDispatchCleanup;
IO_CSQ_INSERT_IRP_EX CsqInsertIrpEx;
IO_CSQ_REMOVE_IRP CsqRemoveIrp;
IO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp;
IO_CSQ_ACQUIRE_LOCK CsqAcquireLock;
IO_CSQ_RELEASE_LOCK CsqReleaseLock;
IO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp;

static NTSTATUS CsqComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(CSQ_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(CSQ_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    PCSQ_EXTENSION extension;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = IoCreateDevice(
        DriverObject, sizeof(CSQ_EXTENSION), &deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeSpinLock(&extension->Lock);
    InitializeListHead(&extension->Pending);

    status = IoCsqInitializeEx(&extension->Queue, CsqInsertIrpEx, CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock, CsqReleaseLock,
        CsqCompleteCanceledIrp);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&linkName, &deviceName);
    }

    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(deviceObject);
        return status;
    }

    DriverObject->MajorFunction[IRP_MJ_CREATE] = CsqDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = CsqDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = CsqDispatchCleanup;
    DriverObject->MajorFunction[IRP_MJ_READ] = CsqDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = CsqDispatchWrite;
    DriverObject->DriverUnload = CsqUnload;

    deviceObject->Flags |= DO_BUFFERED_IO;
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID CsqUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(CSQ_LINK_NAME);

    IoDeleteSymbolicLink(&linkName);
    IoDeleteDevice(DriverObject->DeviceObject);
}

NTSTATUS CsqDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return CsqComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS CsqDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCSQ_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length == 0) {
        return CsqComplete(Irp, STATUS_SUCCESS, 0);
    }

    /* Marks the IRP pending unless CsqInsertIrpEx refuses it. Once it is in the queue it may be gone before this returns. */
    status = IoCsqInsertIrpEx(&extension->Queue, Irp, NULL, NULL);
    if (!NT_SUCCESS(status)) {
        return CsqComplete(Irp, status, 0);
    }

    return STATUS_PENDING;
}

NTSTATUS CsqDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCSQ_EXTENSION extension = DeviceObject->DeviceExtension;
    ULONG length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;
    PIRP reader;

    if (length == 0) {
        return CsqComplete(Irp, STATUS_SUCCESS, 0);
    }

    reader = IoCsqRemoveNextIrp(&extension->Queue, NULL);
    if (reader == NULL) {
        return CsqComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }

    length = min(length, IoGetCurrentIrpStackLocation(reader)->Parameters.Read.Length);
    RtlCopyMemory(reader->AssociatedIrp.SystemBuffer, Irp->AssociatedIrp.SystemBuffer, length);
    CsqComplete(reader, STATUS_SUCCESS, length);

    return CsqComplete(Irp, STATUS_SUCCESS, length);
}

NTSTATUS CsqDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCSQ_EXTENSION extension = DeviceObject->DeviceExtension;
    PFILE_OBJECT fileObject = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    PIRP reader;

    while ((reader = IoCsqRemoveNextIrp(&extension->Queue, fileObject)) != NULL) {
        CsqComplete(reader, STATUS_CANCELLED, 0);
    }

    return CsqComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS CsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PVOID InsertContext)
{
    PCSQ_EXTENSION extension = CONTAINING_RECORD(Csq, CSQ_EXTENSION, Queue);

    UNREFERENCED_PARAMETER(InsertContext);

    if (extension->Count == CSQ_LIMIT) {
        return STATUS_DEVICE_BUSY;
    }

    InsertTailList(&extension->Pending, &Irp->Tail.Overlay.ListEntry);
    extension->Count++;

    return STATUS_SUCCESS;
}

VOID CsqRemoveIrp(PIO_CSQ Csq, PIRP Irp)
{
    PCSQ_EXTENSION extension = CONTAINING_RECORD(Csq, CSQ_EXTENSION, Queue);

    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    extension->Count--;
}

/* The first IRP behind the given one, or from the start; with a context, only those of that file object. */
PIRP CsqPeekNextIrp(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
{
    PCSQ_EXTENSION extension = CONTAINING_RECORD(Csq, CSQ_EXTENSION, Queue);
    PLIST_ENTRY entry = Irp == NULL ? extension->Pending.Flink : Irp->Tail.Overlay.ListEntry.Flink;

    for (; entry != &extension->Pending; entry = entry->Flink) {
        PIRP next = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);

        if (PeekContext == NULL || IoGetCurrentIrpStackLocation(next)->FileObject == PeekContext) {
            return next;
        }
    }

    return NULL;
}

VOID CsqAcquireLock(PIO_CSQ Csq, PKIRQL Irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, CSQ_EXTENSION, Queue)->Lock, Irql);
}

VOID CsqReleaseLock(PIO_CSQ Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, CSQ_EXTENSION, Queue)->Lock, Irql);
}

VOID CsqCompleteCanceledIrp(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);

    CsqComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS CsqComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
