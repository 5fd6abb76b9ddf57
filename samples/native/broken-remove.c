/*
 * broken-remove.c: does not tell the drivers below that their device is gone.
 *
 * The filter counts requests and fails those that come after a surprise removal. "The hardware is gone, so there is nothing left to send
 * down": it completes IRP_MN_SURPRISE_REMOVAL itself. The function driver and the bus driver never hear of it, keep their requests waiting
 * and their resources allocated.
 *
 * On Windows: the device's drivers stay and the next device there does not start; with Driver Verifier bug check 0xC9, parameter 1 = 0x22E.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-an-irp-mn-surprise-removal-request
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-pnp-irps-down-the-device-stack
 */
#include "upper.h"

typedef struct _REMOVE_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG Gone;
    volatile LONG Requests;
} REMOVE_EXTENSION, *PREMOVE_EXTENSION;

DRIVER_ADD_DEVICE BrokenRemoveAddDevice;
DRIVER_DISPATCH BrokenRemoveDispatchReadWrite;
DRIVER_DISPATCH BrokenRemoveDispatchPnp;

static NTSTATUS BrokenRemoveSurprise(PREMOVE_EXTENSION Extension, PIRP Irp);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenRemoveAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenRemoveDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenRemoveDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_PNP] = BrokenRemoveDispatchPnp;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenRemoveAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(REMOVE_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

NTSTATUS BrokenRemoveDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PREMOVE_EXTENSION extension = DeviceObject->DeviceExtension;

    if (extension->Gone) {
        return UpperComplete(Irp, STATUS_DEVICE_REMOVED, 0);
    }

    InterlockedIncrement(&extension->Requests);

    return UpperDispatchPassDown(DeviceObject, Irp);
}

NTSTATUS BrokenRemoveDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PREMOVE_EXTENSION extension = DeviceObject->DeviceExtension;

    switch (IoGetCurrentIrpStackLocation(Irp)->MinorFunction) {
    case IRP_MN_START_DEVICE:
        InterlockedExchange(&extension->Gone, FALSE);
        break;

    case IRP_MN_SURPRISE_REMOVAL:
        return BrokenRemoveSurprise(extension, Irp);
    }

    return UpperDispatchPnp(DeviceObject, Irp);
}

static NTSTATUS BrokenRemoveSurprise(PREMOVE_EXTENSION Extension, PIRP Irp)
{
    NTSTATUS status;

    status = IoAcquireRemoveLock(&Extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    InterlockedExchange(&Extension->Gone, TRUE);

#ifdef FIXED
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Extension->Upper.LowerDevice, Irp);
#else
    status = UpperComplete(Irp, STATUS_SUCCESS, 0); /* BUG: only the bus driver completes it. */
#endif

    IoReleaseRemoveLock(&Extension->Upper.RemoveLock, Irp);

    return status;
}
