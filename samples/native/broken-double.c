/*
 * broken-double.c: completes an IRP twice in its error path.
 *
 * The length check completes a request that is too long, and so does its caller when the check fails. The limit was to come from the
 * registry; it stayed zero, so every READ of at least one byte takes that path.
 *
 * On Windows: bug check 0x44, MULTIPLE_IRP_COMPLETE_REQUESTS.
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x44--multiple-irp-complete-requests
 */
#include "skeleton.h"

typedef struct _BROKEN_EXTENSION {
    FILTER_EXTENSION Filter;
    ULONG MaximumLength;
} BROKEN_EXTENSION, *PBROKEN_EXTENSION;

DRIVER_ADD_DEVICE BrokenDoubleAddDevice;
DRIVER_DISPATCH BrokenDoubleDispatchRead;

NTSTATUS BrokenDoubleCheckLength(PBROKEN_EXTENSION Extension, PIRP Irp);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenDoubleAddDevice, BrokenDoubleDispatchRead);
}

NTSTATUS BrokenDoubleAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(BROKEN_EXTENSION), &deviceObject);
}

NTSTATUS BrokenDoubleDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    NTSTATUS status = BrokenDoubleCheckLength(DeviceObject->DeviceExtension, Irp);

    if (!NT_SUCCESS(status)) {
        /* BUG: the check has completed the IRP already. */
        Irp->IoStatus.Status = status;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }

    return FilterDispatchPassDown(DeviceObject, Irp);
}

DECLSPEC_NOINLINE NTSTATUS BrokenDoubleCheckLength(PBROKEN_EXTENSION Extension, PIRP Irp)
{
    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length <= Extension->MaximumLength) {
        return STATUS_SUCCESS;
    }

    Irp->IoStatus.Status = STATUS_INVALID_PARAMETER;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return STATUS_INVALID_PARAMETER;
}
