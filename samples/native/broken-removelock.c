/*
 * broken-removelock.c: does not give the remove lock back on one path.
 *
 * The filter makes a device read-only: IOCTL_REMOVELOCK_PROTECT (0x0022A018, input one ULONG) switches it on and off, and a WRITE to a
 * protected device fails with STATUS_MEDIA_WRITE_PROTECTED. That path keeps the remove lock it acquired. Everything works until the device
 * is removed, and IoReleaseRemoveLockAndWait waits for a request that was over long ago.
 *
 * On Windows: the device cannot be removed, and the next shutdown or restart hangs.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioreleaseremovelockandwait
 */
#include "upper.h"

#define IOCTL_REMOVELOCK_PROTECT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x806, METHOD_BUFFERED, FILE_WRITE_ACCESS)

typedef struct _REMOVELOCK_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG Protected;
} REMOVELOCK_EXTENSION, *PREMOVELOCK_EXTENSION;

DRIVER_ADD_DEVICE BrokenRemoveLockAddDevice;
DRIVER_DISPATCH BrokenRemoveLockDispatchWrite;
DRIVER_DISPATCH BrokenRemoveLockDispatchDeviceControl;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenRemoveLockAddDevice);
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenRemoveLockDispatchWrite;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenRemoveLockDispatchDeviceControl;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenRemoveLockAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(REMOVELOCK_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    ((PREMOVELOCK_EXTENSION)deviceObject->DeviceExtension)->Protected = TRUE;

    return UpperAttach(deviceObject, PhysicalDeviceObject);
}

NTSTATUS BrokenRemoveLockDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PREMOVELOCK_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    if (extension->Protected) {
#ifdef FIXED
        IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);
#endif
        return UpperComplete(Irp, STATUS_MEDIA_WRITE_PROTECTED, 0); /* BUG: the remove lock is still held. */
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->Upper.LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;
}

NTSTATUS BrokenRemoveLockDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PREMOVELOCK_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_REMOVELOCK_PROTECT) {
        return UpperDispatchPassDown(DeviceObject, Irp);
    }

    if (location->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        return UpperComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }

    InterlockedExchange(&extension->Protected, *(PULONG)Irp->AssociatedIrp.SystemBuffer != 0);

    return UpperComplete(Irp, STATUS_SUCCESS, 0);
}
