/*
 * broken-touch.c: looks at an IRP that it has given away.
 *
 * The filter adds up the bytes that were read; IOCTL_TOUCH_GET_BYTES (0x00226004) returns the sum. It waits for IoCallDriver to return and
 * then takes the count out of the IRP. By then the IRP has been completed, and its memory is free or somebody else's.
 *
 * On Windows: nothing, a wrong sum, or bug check 0x50 or 0xD1; with special pool always a bug check.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-irps-down-the-driver-stack
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iocalldriver
 */
#include "upper.h"

#define IOCTL_TOUCH_GET_BYTES CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_READ_ACCESS)

typedef struct _TOUCH_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG64 Bytes;
} TOUCH_EXTENSION, *PTOUCH_EXTENSION;

DRIVER_ADD_DEVICE BrokenTouchAddDevice;
DRIVER_DISPATCH BrokenTouchDispatchRead;
DRIVER_DISPATCH BrokenTouchDispatchDeviceControl;
IO_COMPLETION_ROUTINE BrokenTouchReadDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenTouchAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenTouchDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenTouchDispatchDeviceControl;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenTouchAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(TOUCH_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

#ifdef FIXED

/* The count is taken while the IRP is still this driver's: in a completion routine. */
NTSTATUS BrokenTouchDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PTOUCH_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, BrokenTouchReadDone, NULL, TRUE, TRUE, TRUE);

    return IoCallDriver(extension->Upper.LowerDevice, Irp);
}

NTSTATUS BrokenTouchReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PTOUCH_EXTENSION extension = DeviceObject->DeviceExtension;

    UNREFERENCED_PARAMETER(Context);

    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }

    if (NT_SUCCESS(Irp->IoStatus.Status)) {
        InterlockedExchangeAdd64(&extension->Bytes, (LONG64)Irp->IoStatus.Information);
    }

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

#else

NTSTATUS BrokenTouchDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PTOUCH_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->Upper.LowerDevice, Irp);

    if (status == STATUS_SUCCESS) {
        /* BUG: a status other than STATUS_PENDING says that the IRP is over, not that it may still be read. */
        InterlockedExchangeAdd64(&extension->Bytes, (LONG64)Irp->IoStatus.Information);
    }

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;
}

#endif

NTSTATUS BrokenTouchDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PTOUCH_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_TOUCH_GET_BYTES) {
        return UpperDispatchPassDown(DeviceObject, Irp);
    }

    if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(LONG64)) {
        return UpperComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }

    *(PLONG64)Irp->AssociatedIrp.SystemBuffer = extension->Bytes;

    return UpperComplete(Irp, STATUS_SUCCESS, sizeof(LONG64));
}
