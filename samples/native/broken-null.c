/*
 * broken-null.c: dereferences NULL in a completion routine.
 *
 * The filter counts bytes read in a block that IRP_MN_START_DEVICE was meant to allocate. Nobody wrote that part, so every completed READ
 * hands the completion routine a NULL context.
 *
 * On Windows: bug check 0xD1 or 0xA at DISPATCH_LEVEL, 0x7E or 0x50 below, in BrokenNullReadDone.
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0xd1--driver-irql-not-less-or-equal
 */
#include "skeleton.h"

typedef struct _READ_COUNTERS {
    LONGLONG Requests;
    LONGLONG Bytes;
} READ_COUNTERS, *PREAD_COUNTERS;

typedef struct _BROKEN_EXTENSION {
    FILTER_EXTENSION Filter;
    PREAD_COUNTERS Counters; /* BUG: never allocated */
} BROKEN_EXTENSION, *PBROKEN_EXTENSION;

DRIVER_ADD_DEVICE BrokenNullAddDevice;
DRIVER_DISPATCH BrokenNullDispatchRead;
IO_COMPLETION_ROUTINE BrokenNullReadDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenNullAddDevice, BrokenNullDispatchRead);
}

NTSTATUS BrokenNullAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(BROKEN_EXTENSION), &deviceObject);
}

NTSTATUS BrokenNullDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBROKEN_EXTENSION extension = DeviceObject->DeviceExtension;

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, BrokenNullReadDone, extension->Counters, TRUE, TRUE, TRUE);

    return IoCallDriver(extension->Filter.LowerDevice, Irp);
}

NTSTATUS BrokenNullReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PREAD_COUNTERS counters = Context;

    UNREFERENCED_PARAMETER(DeviceObject);

    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }

    InterlockedIncrement64(&counters->Requests);
    InterlockedExchangeAdd64(&counters->Bytes, (LONGLONG)Irp->IoStatus.Information);

    return STATUS_CONTINUE_COMPLETION;
}
