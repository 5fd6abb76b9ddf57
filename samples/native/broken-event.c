/*
 * broken-event.c: wakes the dispatch routine that waits for an IRP, and lets the IRP go on being completed.
 *
 * The filter prepares its device when the drivers below have started theirs. So it sends IRP_MN_START_DEVICE down, waits for an event, goes
 * on with the IRP in hand and completes it. That only works if the completion routine, which sets the event, also stops the completion with
 * STATUS_MORE_PROCESSING_REQUIRED. This one returns STATUS_SUCCESS, which is STATUS_CONTINUE_COMPLETION.
 *
 * On Windows: bug check 0x44, or the IRP's memory is written after it was freed.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/postponing-pnp-irp-processing-until-lower-drivers-finish
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet (scenario 2)
 */
#include "upper.h"

typedef struct _EVENT_EXTENSION {
    UPPER_EXTENSION Upper;
    LARGE_INTEGER StartTime;
    volatile LONG Started;
} EVENT_EXTENSION, *PEVENT_EXTENSION;

DRIVER_ADD_DEVICE BrokenEventAddDevice;
DRIVER_DISPATCH BrokenEventDispatchRead;
DRIVER_DISPATCH BrokenEventDispatchPnp;
IO_COMPLETION_ROUTINE BrokenEventStartDone;

static NTSTATUS BrokenEventForwardAndWait(PDEVICE_OBJECT LowerDevice, PIRP Irp);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenEventAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenEventDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_PNP] = BrokenEventDispatchPnp;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenEventAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(EVENT_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

/* Nothing to read before the device is started. */
NTSTATUS BrokenEventDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PEVENT_EXTENSION extension = DeviceObject->DeviceExtension;

    return extension->Started ? UpperDispatchPassDown(DeviceObject, Irp) : UpperComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
}

NTSTATUS BrokenEventDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PEVENT_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    if (IoGetCurrentIrpStackLocation(Irp)->MinorFunction != IRP_MN_START_DEVICE) {
        return UpperDispatchPnp(DeviceObject, Irp);
    }

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    status = BrokenEventForwardAndWait(extension->Upper.LowerDevice, Irp);
    if (NT_SUCCESS(status)) {
        KeQuerySystemTime(&extension->StartTime);
        InterlockedExchange(&extension->Started, TRUE);
    }

    UpperComplete(Irp, status, 0);
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;
}

static NTSTATUS BrokenEventForwardAndWait(PDEVICE_OBJECT LowerDevice, PIRP Irp)
{
    KEVENT event;
    NTSTATUS status;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, BrokenEventStartDone, &event, TRUE, TRUE, TRUE);

    status = IoCallDriver(LowerDevice, Irp);
    if (status == STATUS_PENDING) {
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
        status = Irp->IoStatus.Status;
    }

    return status;
}

NTSTATUS BrokenEventStartDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);

    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);

#ifdef FIXED
    return STATUS_MORE_PROCESSING_REQUIRED;
#else
    return STATUS_SUCCESS; /* BUG: the IRP is completed for good before the dispatch routine is done with it. */
#endif
}
