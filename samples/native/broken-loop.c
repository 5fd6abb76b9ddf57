/*
 * broken-loop.c: never returns from its dispatch routine.
 *
 * READ polls a flag that IRP_MN_START_DEVICE was meant to set. Nobody sets it, and the processor spins for good.
 *
 * On Windows: the thread hangs; at DISPATCH_LEVEL, bug check 0x133.
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x133-dpc-watchdog-violation
 */
#include "skeleton.h"

typedef struct _BROKEN_EXTENSION {
    FILTER_EXTENSION Filter;
    volatile BOOLEAN Ready; /* BUG: never set */
} BROKEN_EXTENSION, *PBROKEN_EXTENSION;

DRIVER_ADD_DEVICE BrokenLoopAddDevice;
DRIVER_DISPATCH BrokenLoopDispatchRead;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenLoopAddDevice, BrokenLoopDispatchRead);
}

NTSTATUS BrokenLoopAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(BROKEN_EXTENSION), &deviceObject);
}

NTSTATUS BrokenLoopDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBROKEN_EXTENSION extension = DeviceObject->DeviceExtension;

    while (!extension->Ready) {
        YieldProcessor();
    }

    return FilterDispatchPassDown(DeviceObject, Irp);
}
