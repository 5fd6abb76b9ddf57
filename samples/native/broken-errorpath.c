/*
 * broken-errorpath.c: completes an IRP that the lower driver has completed already.
 *
 * The filter refuses reads of more than 64 KiB and passes the others down. All its errors leave by one exit, which gives the remove lock
 * back and completes the IRP: the usual "goto fail". An error of the lower driver takes that exit too, but that IRP is over.
 *
 * On Windows: bug check 0x44, MULTIPLE_IRP_COMPLETE_REQUESTS, or a memory block that is freed twice.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/completing-irps
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x44--multiple-irp-complete-requests
 */
#include "upper.h"

#define ERRORPATH_LARGEST_READ 0x10000

typedef struct _ERRORPATH_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG Failures;
} ERRORPATH_EXTENSION, *PERRORPATH_EXTENSION;

DRIVER_ADD_DEVICE BrokenErrorPathAddDevice;
DRIVER_DISPATCH BrokenErrorPathDispatchRead;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenErrorPathAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenErrorPathDispatchRead;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenErrorPathAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(ERRORPATH_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

NTSTATUS BrokenErrorPathDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PERRORPATH_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    if (location->Parameters.Read.Length > ERRORPATH_LARGEST_READ) {
        status = STATUS_INVALID_PARAMETER;
        goto fail;
    }

    if (location->Parameters.Read.ByteOffset.QuadPart < 0) {
        status = STATUS_INVALID_PARAMETER;
        goto fail;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->Upper.LowerDevice, Irp);

#ifdef FIXED
    if (!NT_SUCCESS(status)) {
        InterlockedIncrement(&extension->Failures);
    }
#else
    if (!NT_SUCCESS(status)) {
        goto fail; /* BUG: the IRP is not this driver's any more. */
    }
#endif

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;

fail:
    InterlockedIncrement(&extension->Failures);
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return UpperComplete(Irp, status, 0);
}
