/*
 * broken-lostcancel.c: loses a cancellation.
 *
 * \Device\LostCancel0 (\DosDevices\LostCancel0) tells one program what another does: IOCTL_LOSTCANCEL_WAIT (0x00226010) waits until
 * IOCTL_LOSTCANCEL_NOTIFY (0x0022A014), the "inverted call". The driver looks whether the request has been cancelled already, and then sets
 * its cancel routine. A cancellation between the two finds no routine to call, and nobody looks again: the request waits on.
 *
 * On Windows: a program that waits for its cancelled request and cannot be ended, once in a long time.
 *   https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-irpcancelfield
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-a-driver-supplied-spin-lock
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/synchronizing-irp-cancellation
 */
#include "software.h"

#define LOSTCANCEL_DEVICE_NAME L"\\Device\\LostCancel0"
#define LOSTCANCEL_LINK_NAME L"\\DosDevices\\LostCancel0"

#define IOCTL_LOSTCANCEL_WAIT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x804, METHOD_BUFFERED, FILE_READ_ACCESS)
#define IOCTL_LOSTCANCEL_NOTIFY CTL_CODE(FILE_DEVICE_UNKNOWN, 0x805, METHOD_BUFFERED, FILE_WRITE_ACCESS)

typedef struct _LOSTCANCEL_EXTENSION {
    KSPIN_LOCK Lock; /* guards Waiting */
    PIRP Waiting;    /* at most one */
} LOSTCANCEL_EXTENSION, *PLOSTCANCEL_EXTENSION;

DRIVER_UNLOAD BrokenLostCancelUnload;
DRIVER_DISPATCH BrokenLostCancelDispatchDeviceControl;
DRIVER_DISPATCH BrokenLostCancelDispatchCleanup;
DRIVER_CANCEL BrokenLostCancelCancel;

static NTSTATUS BrokenLostCancelWait(PLOSTCANCEL_EXTENSION Extension, PIRP Irp);
static PIRP BrokenLostCancelTake(PLOSTCANCEL_EXTENSION Extension, PFILE_OBJECT FileObject);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(LOSTCANCEL_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(LOSTCANCEL_LINK_NAME);
    PLOSTCANCEL_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(LOSTCANCEL_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeSpinLock(&extension->Lock);

    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenLostCancelDispatchDeviceControl;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = BrokenLostCancelDispatchCleanup;
    DriverObject->DriverUnload = BrokenLostCancelUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenLostCancelUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(LOSTCANCEL_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenLostCancelDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PLOSTCANCEL_EXTENSION extension = DeviceObject->DeviceExtension;
    PIRP waiting;

    switch (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_LOSTCANCEL_WAIT:
        return BrokenLostCancelWait(extension, Irp);

    case IOCTL_LOSTCANCEL_NOTIFY:
        waiting = BrokenLostCancelTake(extension, NULL);
        if (waiting == NULL) {
            return SoftwareComplete(Irp, STATUS_NOT_FOUND, 0);
        }

        SoftwareComplete(waiting, STATUS_SUCCESS, 0);
        return SoftwareComplete(Irp, STATUS_SUCCESS, 0);

    default:
        return SoftwareComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

#ifdef FIXED

static NTSTATUS BrokenLostCancelWait(PLOSTCANCEL_EXTENSION Extension, PIRP Irp)
{
    NTSTATUS refused = STATUS_SUCCESS;
    KIRQL irql;

    KeAcquireSpinLock(&Extension->Lock, &irql);

    if (Extension->Waiting != NULL) {
        refused = STATUS_DEVICE_BUSY;
    } else {
        IoMarkIrpPending(Irp);
        Extension->Waiting = Irp;
        IoSetCancelRoutine(Irp, BrokenLostCancelCancel);

        /* First the routine, then the question. If the routine is gone by now, it has the IRP and waits for the lock. */
        if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
            Extension->Waiting = NULL;
            refused = STATUS_CANCELLED;
        }
    }

    KeReleaseSpinLock(&Extension->Lock, irql);

    if (refused == STATUS_DEVICE_BUSY) {
        return SoftwareComplete(Irp, refused, 0);
    }

    if (refused == STATUS_CANCELLED) {
        SoftwareComplete(Irp, refused, 0);
    }

    return STATUS_PENDING;
}

#else

static NTSTATUS BrokenLostCancelWait(PLOSTCANCEL_EXTENSION Extension, PIRP Irp)
{
    NTSTATUS refused = STATUS_SUCCESS;
    KIRQL irql;

    KeAcquireSpinLock(&Extension->Lock, &irql);

    if (Extension->Waiting != NULL) {
        refused = STATUS_DEVICE_BUSY;
    } else if (Irp->Cancel) {
        refused = STATUS_CANCELLED;
    } else {
        /* BUG: cancelled from here on, and before the routine is set, means never. */
        IoMarkIrpPending(Irp);
        Extension->Waiting = Irp;
        IoSetCancelRoutine(Irp, BrokenLostCancelCancel);
    }

    KeReleaseSpinLock(&Extension->Lock, irql);

    return refused == STATUS_SUCCESS ? STATUS_PENDING : SoftwareComplete(Irp, refused, 0);
}

#endif

/* The request that waits, for the caller to complete; NULL if there is none, or none of that file, or if it is being cancelled. */
static PIRP BrokenLostCancelTake(PLOSTCANCEL_EXTENSION Extension, PFILE_OBJECT FileObject)
{
    PIRP waiting;
    KIRQL irql;

    KeAcquireSpinLock(&Extension->Lock, &irql);

    waiting = Extension->Waiting;
    if (waiting != NULL && FileObject != NULL && IoGetCurrentIrpStackLocation(waiting)->FileObject != FileObject) {
        waiting = NULL;
    }

    if (waiting != NULL && IoSetCancelRoutine(waiting, NULL) == NULL) {
        waiting = NULL;
    }

    if (waiting != NULL) {
        Extension->Waiting = NULL;
    }

    KeReleaseSpinLock(&Extension->Lock, irql);

    return waiting;
}

VOID BrokenLostCancelCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PLOSTCANCEL_EXTENSION extension = DeviceObject->DeviceExtension;
    KIRQL irql;

    IoReleaseCancelSpinLock(Irp->CancelIrql);

    KeAcquireSpinLock(&extension->Lock, &irql);
    extension->Waiting = NULL;
    KeReleaseSpinLock(&extension->Lock, irql);

    SoftwareComplete(Irp, STATUS_CANCELLED, 0);
}

NTSTATUS BrokenLostCancelDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIRP waiting = BrokenLostCancelTake(DeviceObject->DeviceExtension, IoGetCurrentIrpStackLocation(Irp)->FileObject);

    if (waiting != NULL) {
        SoftwareComplete(waiting, STATUS_CANCELLED, 0);
    }

    return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
}
