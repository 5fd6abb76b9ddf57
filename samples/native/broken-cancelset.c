/*
 * broken-cancelset.c: completes an IRP whose cancel routine is still set.
 *
 * \Device\CancelSet0 (\DosDevices\CancelSet0) is a mailbox: a READ waits until a WRITE brings its bytes. Waiting reads can be cancelled, and
 * are when their file is closed. Insertion and cancelling are as they should be. WRITE takes a reader out of the list under the lock and
 * completes it, but leaves the cancel routine in it: a program that cancels in that moment gets its IRP completed twice.
 *
 * On Windows: bug check 0x48, CANCEL_STATE_IN_COMPLETED_IRP, or 0x44, once in a long time; with Driver Verifier 0xC9, parameter 1 = 0x7.
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iosetcancelroutine
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-a-driver-supplied-spin-lock
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x48--cancel-state-in-completed-irp
 */
#include "software.h"

#define CANCELSET_DEVICE_NAME L"\\Device\\CancelSet0"
#define CANCELSET_LINK_NAME L"\\DosDevices\\CancelSet0"

typedef struct _CANCELSET_EXTENSION {
    KSPIN_LOCK Lock; /* guards Readers */
    LIST_ENTRY Readers;
} CANCELSET_EXTENSION, *PCANCELSET_EXTENSION;

DRIVER_UNLOAD BrokenCancelSetUnload;
DRIVER_DISPATCH BrokenCancelSetDispatchRead;
DRIVER_DISPATCH BrokenCancelSetDispatchWrite;
DRIVER_DISPATCH BrokenCancelSetDispatchCleanup;
DRIVER_CANCEL BrokenCancelSetCancel;

static PIRP BrokenCancelSetTake(PCANCELSET_EXTENSION Extension);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(CANCELSET_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(CANCELSET_LINK_NAME);
    PCANCELSET_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(CANCELSET_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeSpinLock(&extension->Lock);
    InitializeListHead(&extension->Readers);

    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenCancelSetDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenCancelSetDispatchWrite;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = BrokenCancelSetDispatchCleanup;
    DriverObject->DriverUnload = BrokenCancelSetUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenCancelSetUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(CANCELSET_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenCancelSetDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCANCELSET_EXTENSION extension = DeviceObject->DeviceExtension;
    BOOLEAN cancelled;
    KIRQL irql;

    KeAcquireSpinLock(&extension->Lock, &irql);

    IoMarkIrpPending(Irp);
    InsertTailList(&extension->Readers, &Irp->Tail.Overlay.ListEntry);
    IoSetCancelRoutine(Irp, BrokenCancelSetCancel);

    /* Cancelled before the routine was set: nobody will call it. Cancelled since: it waits for the lock and will complete the IRP. */
    cancelled = Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL;
    if (cancelled) {
        RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    }

    KeReleaseSpinLock(&extension->Lock, irql);

    if (cancelled) {
        SoftwareComplete(Irp, STATUS_CANCELLED, 0);
    }

    return STATUS_PENDING;
}

NTSTATUS BrokenCancelSetDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCANCELSET_EXTENSION extension = DeviceObject->DeviceExtension;
    ULONG length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length;
    PIRP reader = BrokenCancelSetTake(extension);

    if (reader == NULL) {
        return SoftwareComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }

    length = min(length, IoGetCurrentIrpStackLocation(reader)->Parameters.Read.Length);
    if (length != 0) {
        RtlCopyMemory(reader->AssociatedIrp.SystemBuffer, Irp->AssociatedIrp.SystemBuffer, length);
    }

    SoftwareComplete(reader, STATUS_SUCCESS, length);

    return SoftwareComplete(Irp, STATUS_SUCCESS, length);
}

/* The reader that has waited longest, for the caller to complete; NULL if none waits. */
static PIRP BrokenCancelSetTake(PCANCELSET_EXTENSION Extension)
{
    PIRP reader = NULL;
    KIRQL irql;

    KeAcquireSpinLock(&Extension->Lock, &irql);

    while (reader == NULL && !IsListEmpty(&Extension->Readers)) {
        reader = CONTAINING_RECORD(RemoveHeadList(&Extension->Readers), IRP, Tail.Overlay.ListEntry);

#ifdef FIXED
        if (IoSetCancelRoutine(reader, NULL) == NULL) {
            /* The cancel routine has it and is about to unlink it: let it unlink the entry from itself. */
            InitializeListHead(&reader->Tail.Overlay.ListEntry);
            reader = NULL;
        }
#endif
        /* BUG: out of the list, but not out of reach of the cancel routine. */
    }

    KeReleaseSpinLock(&Extension->Lock, irql);

    return reader;
}

VOID BrokenCancelSetCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCANCELSET_EXTENSION extension = DeviceObject->DeviceExtension;
    KIRQL irql;

    IoReleaseCancelSpinLock(Irp->CancelIrql);

    KeAcquireSpinLock(&extension->Lock, &irql);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&extension->Lock, irql);

    SoftwareComplete(Irp, STATUS_CANCELLED, 0);
}

NTSTATUS BrokenCancelSetDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PCANCELSET_EXTENSION extension = DeviceObject->DeviceExtension;
    PFILE_OBJECT fileObject = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    LIST_ENTRY cancelled;
    PLIST_ENTRY entry;
    PLIST_ENTRY next;
    KIRQL irql;

    InitializeListHead(&cancelled);

    KeAcquireSpinLock(&extension->Lock, &irql);

    for (entry = extension->Readers.Flink; entry != &extension->Readers; entry = next) {
        PIRP reader = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);

        next = entry->Flink;

        if (IoGetCurrentIrpStackLocation(reader)->FileObject == fileObject && IoSetCancelRoutine(reader, NULL) != NULL) {
            RemoveEntryList(entry);
            InsertTailList(&cancelled, entry);
        }
    }

    KeReleaseSpinLock(&extension->Lock, irql);

    while (!IsListEmpty(&cancelled)) {
        entry = RemoveHeadList(&cancelled);
        SoftwareComplete(CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry), STATUS_CANCELLED, 0);
    }

    return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
}
