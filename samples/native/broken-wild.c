/*
 * broken-wild.c: calls through a wild function pointer.
 *
 * A relic of 32-bit days: the filter keeps the address of its log routine in a ULONG. On x64 the upper half is lost, and every READ calls
 * somewhere into the low 4 GiB.
 *
 * On Windows: bug check 0x7E, 0x50 or 0xD1 with the truncated address as both the instruction pointer and the address referenced.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/porting-your-driver-to-64-bit-windows
 */
#include "skeleton.h"

typedef VOID READ_LOG(PIRP Irp);
typedef READ_LOG *PREAD_LOG;

typedef struct _BROKEN_EXTENSION {
    FILTER_EXTENSION Filter;
    ULONG Log; /* BUG: half a pointer */
    volatile LONG Logged;
} BROKEN_EXTENSION, *PBROKEN_EXTENSION;

DRIVER_ADD_DEVICE BrokenWildAddDevice;
DRIVER_DISPATCH BrokenWildDispatchRead;
READ_LOG BrokenWildLog;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenWildAddDevice, BrokenWildDispatchRead);
}

NTSTATUS BrokenWildAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(BROKEN_EXTENSION), &deviceObject);
    if (NT_SUCCESS(status)) {
        PBROKEN_EXTENSION extension = deviceObject->DeviceExtension;

        extension->Log = (ULONG)(ULONG_PTR)BrokenWildLog;
    }

    return status;
}

NTSTATUS BrokenWildDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBROKEN_EXTENSION extension = DeviceObject->DeviceExtension;

    ((PREAD_LOG)(ULONG_PTR)extension->Log)(Irp);

    return FilterDispatchPassDown(DeviceObject, Irp);
}

VOID BrokenWildLog(PIRP Irp)
{
    PBROKEN_EXTENSION extension = IoGetCurrentIrpStackLocation(Irp)->DeviceObject->DeviceExtension;

    InterlockedIncrement(&extension->Logged);
}
