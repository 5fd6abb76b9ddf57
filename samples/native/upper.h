/*
 * upper.h: an upper filter that does everything right and nothing else: it attaches, passes requests down under a remove lock, and goes when
 * its device goes. The broken-*.c filters that use it replace a dispatch routine or two by their own.
 */
#pragma once

#include "wdk.h"

#define UPPER_TAG 'eppU'

/* The first member of every extension. */
typedef struct _UPPER_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    IO_REMOVE_LOCK RemoveLock;
} UPPER_EXTENSION, *PUPPER_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD UpperUnload;
DRIVER_DISPATCH UpperDispatchPassDown;
DRIVER_DISPATCH UpperDispatchPnp;
DRIVER_DISPATCH UpperDispatchPower;

static inline NTSTATUS UpperComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

NTSTATUS UpperDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PUPPER_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

NTSTATUS UpperDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PUPPER_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    if (minor == IRP_MN_REMOVE_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    if (minor == IRP_MN_REMOVE_DEVICE) {
        IoReleaseRemoveLockAndWait(&extension->RemoveLock, Irp);
        IoDetachDevice(extension->LowerDevice);
        IoDeleteDevice(DeviceObject);
    } else {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
    }

    return status;
}

NTSTATUS UpperDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PUPPER_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = PoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

VOID UpperUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

static inline VOID UpperInitialize(PDRIVER_OBJECT DriverObject, PDRIVER_ADD_DEVICE AddDevice)
{
    ULONG major;

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = UpperDispatchPassDown;
    }

    DriverObject->MajorFunction[IRP_MJ_PNP] = UpperDispatchPnp;
    DriverObject->MajorFunction[IRP_MJ_POWER] = UpperDispatchPower;
    DriverObject->DriverExtension->AddDevice = AddDevice;
    DriverObject->DriverUnload = UpperUnload;
}

/* Creates the filter device with a zeroed extension of the given size. What the driver keeps there is set before UpperAttach. */
static inline NTSTATUS UpperCreate(PDRIVER_OBJECT DriverObject, ULONG ExtensionSize, PDEVICE_OBJECT *DeviceObject)
{
    PUPPER_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(DriverObject, ExtensionSize, NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, DeviceObject);
    if (NT_SUCCESS(status)) {
        extension = (*DeviceObject)->DeviceExtension;
        IoInitializeRemoveLock(&extension->RemoveLock, UPPER_TAG, 0, 0);
    }

    return status;
}

/* Attaches the filter device, or deletes it. */
static inline NTSTATUS UpperAttach(PDEVICE_OBJECT DeviceObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PUPPER_EXTENSION extension = DeviceObject->DeviceExtension;

    extension->LowerDevice = IoAttachDeviceToDeviceStack(DeviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(DeviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    DeviceObject->DeviceType = extension->LowerDevice->DeviceType;
    DeviceObject->Characteristics |= extension->LowerDevice->Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
    DeviceObject->Flags |= extension->LowerDevice->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
    DeviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}
