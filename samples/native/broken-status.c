/*
 * broken-status.c: returns another status than the driver that completed the IRP.
 *
 * Devices without a cache fail IRP_MJ_FLUSH_BUFFERS with STATUS_INVALID_DEVICE_REQUEST, and programs take that for a loss of data. So the
 * filter wants such a flush to succeed. It passes the IRP down and returns STATUS_SUCCESS where the lower driver returned that error. But
 * the lower driver has completed the IRP, with its own status: whoever trusts the one and whoever trusts the other do not agree. A result is
 * changed in a completion routine.
 *
 * On Windows: a program waits for ever or hears of an error that was none; with Driver Verifier bug check 0xC9, parameter 1 = 0x224.
 *   https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-lowerdriverreturn
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet (scenarios 1 and 4)
 */
#include "upper.h"

typedef struct _STATUS_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG Ignored;
} STATUS_EXTENSION, *PSTATUS_EXTENSION;

DRIVER_ADD_DEVICE BrokenStatusAddDevice;
DRIVER_DISPATCH BrokenStatusDispatchFlush;
IO_COMPLETION_ROUTINE BrokenStatusFlushDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenStatusAddDevice);
    DriverObject->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = BrokenStatusDispatchFlush;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenStatusAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(STATUS_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

#ifdef FIXED

/* The result is not known here, and the routine may change it: the IRP is pended, whatever the lower driver does. */
NTSTATUS BrokenStatusDispatchFlush(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSTATUS_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoMarkIrpPending(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, BrokenStatusFlushDone, NULL, TRUE, TRUE, TRUE);
    (VOID)IoCallDriver(extension->Upper.LowerDevice, Irp);

    return STATUS_PENDING;
}

NTSTATUS BrokenStatusFlushDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PSTATUS_EXTENSION extension = DeviceObject->DeviceExtension;

    UNREFERENCED_PARAMETER(Context);

    if (Irp->IoStatus.Status == STATUS_INVALID_DEVICE_REQUEST) {
        InterlockedIncrement(&extension->Ignored);
        Irp->IoStatus.Status = STATUS_SUCCESS;
        Irp->IoStatus.Information = 0;
    }

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

#else

NTSTATUS BrokenStatusDispatchFlush(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSTATUS_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->Upper.LowerDevice, Irp);

    if (status == STATUS_INVALID_DEVICE_REQUEST) {
        InterlockedIncrement(&extension->Ignored);
        status = STATUS_SUCCESS; /* BUG: the IRP was completed with STATUS_INVALID_DEVICE_REQUEST. */
    }

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;
}

#endif
