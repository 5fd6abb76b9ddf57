/*
 * broken-pending.c: does not pass the pending mark on.
 *
 * The filter counts reads, bytes and failures in a completion routine; IOCTL_PENDING_GET_COUNTERS (0x00226000) returns the counters. Its
 * dispatch routine returns what the lower driver returned, and so the completion routine has to repeat the lower driver's mark in its own
 * stack location. It does not. Above a driver that completes at once nobody notices.
 *
 * On Windows: who asked waits for ever, or goes on too early; with Driver Verifier bug check 0xC9, parameter 1 = 0x228.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iomarkirppending
 */
#include "upper.h"

#define IOCTL_PENDING_GET_COUNTERS CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS)

typedef struct _PENDING_COUNTERS {
    LONG64 Reads;
    LONG64 Bytes;
    LONG64 Failures;
} PENDING_COUNTERS, *PPENDING_COUNTERS;

typedef struct _PENDING_EXTENSION {
    UPPER_EXTENSION Upper;
    PENDING_COUNTERS Counters;
} PENDING_EXTENSION, *PPENDING_EXTENSION;

DRIVER_ADD_DEVICE BrokenPendingAddDevice;
DRIVER_DISPATCH BrokenPendingDispatchRead;
DRIVER_DISPATCH BrokenPendingDispatchDeviceControl;
IO_COMPLETION_ROUTINE BrokenPendingReadDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenPendingAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenPendingDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenPendingDispatchDeviceControl;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenPendingAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(PENDING_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

NTSTATUS BrokenPendingDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPENDING_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, BrokenPendingReadDone, NULL, TRUE, TRUE, TRUE);

    return IoCallDriver(extension->Upper.LowerDevice, Irp);
}

NTSTATUS BrokenPendingReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PPENDING_EXTENSION extension = DeviceObject->DeviceExtension;

    UNREFERENCED_PARAMETER(Context);

#ifdef FIXED
    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }
#endif
    /* BUG: nothing repeats the lower driver's mark. */

    InterlockedIncrement64(&extension->Counters.Reads);

    if (NT_SUCCESS(Irp->IoStatus.Status)) {
        InterlockedExchangeAdd64(&extension->Counters.Bytes, (LONG64)Irp->IoStatus.Information);
    } else {
        InterlockedIncrement64(&extension->Counters.Failures);
    }

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS BrokenPendingDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPENDING_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_PENDING_GET_COUNTERS) {
        return UpperDispatchPassDown(DeviceObject, Irp);
    }

    if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(PENDING_COUNTERS)) {
        return UpperComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }

    *(PPENDING_COUNTERS)Irp->AssociatedIrp.SystemBuffer = extension->Counters;

    return UpperComplete(Irp, STATUS_SUCCESS, sizeof(PENDING_COUNTERS));
}
