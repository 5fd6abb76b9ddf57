/*
 * skeleton.h: the smallest filter, for the broken-*.c drivers: everything but IRP_MJ_READ is passed down untouched, and each of them adds
 * the one routine that is wrong. The complete filters (passthrough.c, retry.c, ...) do not use it.
 */
#pragma once

#include "wdk.h"

/* The first member of every extension. */
typedef struct _FILTER_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
} FILTER_EXTENSION, *PFILTER_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD FilterUnload;
DRIVER_DISPATCH FilterDispatchPassDown;
DRIVER_DISPATCH FilterDispatchPnp;

NTSTATUS FilterDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFILTER_EXTENSION extension = DeviceObject->DeviceExtension;

    IoSkipCurrentIrpStackLocation(Irp);

    return IoCallDriver(extension->LowerDevice, Irp);
}

NTSTATUS FilterDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    if (minor == IRP_MN_REMOVE_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    if (minor == IRP_MN_REMOVE_DEVICE) {
        IoDetachDevice(extension->LowerDevice);
        IoDeleteDevice(DeviceObject);
    }

    return status;
}

VOID FilterUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

static inline NTSTATUS FilterInitialize(PDRIVER_OBJECT DriverObject, PDRIVER_ADD_DEVICE AddDevice, PDRIVER_DISPATCH DispatchRead)
{
    ULONG major;

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = FilterDispatchPassDown;
    }

    DriverObject->MajorFunction[IRP_MJ_READ] = DispatchRead;
    DriverObject->MajorFunction[IRP_MJ_PNP] = FilterDispatchPnp;
    DriverObject->DriverExtension->AddDevice = AddDevice;
    DriverObject->DriverUnload = FilterUnload;

    return STATUS_SUCCESS;
}

/* Creates the filter device, with a zeroed extension of the given size, and attaches it. */
static inline NTSTATUS FilterAttach(
    PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject, ULONG ExtensionSize, PDEVICE_OBJECT *DeviceObject)
{
    PFILTER_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = IoCreateDevice(DriverObject, ExtensionSize, NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    deviceObject->DeviceType = extension->LowerDevice->DeviceType;
    deviceObject->Characteristics |= extension->LowerDevice->Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
    deviceObject->Flags |= extension->LowerDevice->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;
    *DeviceObject = deviceObject;

    return STATUS_SUCCESS;
}
