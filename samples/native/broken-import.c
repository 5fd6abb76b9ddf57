/*
 * broken-import.c: imports a routine that no kernel exports.
 *
 * broken-import.def makes the linker believe in ntoskrnl.exe!IrpwrightNoSuchExport; READ calls it.
 *
 * On Windows the driver does not load: STATUS_DRIVER_ENTRYPOINT_NOT_FOUND.
 */
#include "skeleton.h"

DECLSPEC_IMPORT VOID NTAPI IrpwrightNoSuchExport(PIRP Irp);

DRIVER_ADD_DEVICE BrokenImportAddDevice;
DRIVER_DISPATCH BrokenImportDispatchRead;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenImportAddDevice, BrokenImportDispatchRead);
}

NTSTATUS BrokenImportAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(FILTER_EXTENSION), &deviceObject);
}

NTSTATUS BrokenImportDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    IrpwrightNoSuchExport(Irp);

    return FilterDispatchPassDown(DeviceObject, Irp);
}
