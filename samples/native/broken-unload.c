/*
 * broken-unload.c: is unloaded while its timer runs.
 *
 * \Device\Unload0 (\DosDevices\Unload0) counts seconds: its first WRITE starts a periodic timer, whose DPC counts; READ returns the count. A
 * file that is closed leaves the timer running, and so does the unload routine. The timer and the DPC lie in the device extension, which
 * goes with the device, and the DPC's routine in the image, which goes with the driver.
 *
 * On Windows: bug check 0xCE or 0xD1 with an address of a driver that is no longer there; with Driver Verifier 0xC4 or 0xC7 at once.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-an-unload-routine
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0xce--driver-unloaded-without-cancelling-pending-operations
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-keflushqueueddpcs
 */
#include "software.h"

#define UNLOAD_DEVICE_NAME L"\\Device\\Unload0"
#define UNLOAD_LINK_NAME L"\\DosDevices\\Unload0"
#define UNLOAD_PERIOD_MS 1000

typedef struct _UNLOAD_EXTENSION {
    KTIMER Timer;
    KDPC TimerDpc;
    volatile LONG Running;
    volatile LONG Seconds;
} UNLOAD_EXTENSION, *PUNLOAD_EXTENSION;

DRIVER_UNLOAD BrokenUnloadUnload;
DRIVER_DISPATCH BrokenUnloadDispatchRead;
DRIVER_DISPATCH BrokenUnloadDispatchWrite;
KDEFERRED_ROUTINE BrokenUnloadTick;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(UNLOAD_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(UNLOAD_LINK_NAME);
    PUNLOAD_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(UNLOAD_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeTimer(&extension->Timer);
    KeInitializeDpc(&extension->TimerDpc, BrokenUnloadTick, extension);

    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenUnloadDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenUnloadDispatchWrite;
    DriverObject->DriverUnload = BrokenUnloadUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenUnloadUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(UNLOAD_LINK_NAME);
#ifdef FIXED
    PUNLOAD_EXTENSION extension = DriverObject->DeviceObject->DeviceExtension;

    /* No DPC is queued from now on, and those that are queued or run are waited for. */
    KeCancelTimer(&extension->Timer);
    KeFlushQueuedDpcs();
#endif

    SoftwareDelete(DriverObject->DeviceObject, &linkName); /* BUG: the timer in the extension is still set. */
}

NTSTATUS BrokenUnloadDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PUNLOAD_EXTENSION extension = DeviceObject->DeviceExtension;

    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length < sizeof(LONG)) {
        return SoftwareComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }

    *(PLONG)Irp->AssociatedIrp.SystemBuffer = extension->Seconds;

    return SoftwareComplete(Irp, STATUS_SUCCESS, sizeof(LONG));
}

NTSTATUS BrokenUnloadDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PUNLOAD_EXTENSION extension = DeviceObject->DeviceExtension;
    LARGE_INTEGER dueTime;

    if (InterlockedExchange(&extension->Running, TRUE) == FALSE) {
        dueTime.QuadPart = -10000LL * UNLOAD_PERIOD_MS;
        KeSetTimerEx(&extension->Timer, dueTime, UNLOAD_PERIOD_MS, &extension->TimerDpc);
    }

    return SoftwareComplete(Irp, STATUS_SUCCESS, IoGetCurrentIrpStackLocation(Irp)->Parameters.Write.Length);
}

VOID BrokenUnloadTick(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PUNLOAD_EXTENSION extension = DeferredContext;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    InterlockedIncrement(&extension->Seconds);
}
