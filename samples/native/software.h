/*
 * software.h: what software devices have in common, done right: one named device with a symbolic link, buffered I/O, and files that can
 * always be opened and closed. For the broken-*.c drivers that are no filters.
 */
#pragma once

#include "wdk.h"

DRIVER_INITIALIZE DriverEntry;
DRIVER_DISPATCH SoftwareDispatchCreateClose;

static inline NTSTATUS SoftwareComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

NTSTATUS SoftwareDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
}

/* Creates the device with a zeroed extension of the given size. Nobody can open it before SoftwareReady. */
static inline NTSTATUS SoftwareCreate(
    PDRIVER_OBJECT DriverObject, PUNICODE_STRING Name, PUNICODE_STRING Link, ULONG ExtensionSize, PDEVICE_OBJECT *DeviceObject)
{
    NTSTATUS status;

    status = IoCreateDevice(DriverObject, ExtensionSize, Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, DeviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = IoCreateSymbolicLink(Link, Name);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(*DeviceObject);
        return status;
    }

    DriverObject->MajorFunction[IRP_MJ_CREATE] = SoftwareDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = SoftwareDispatchCreateClose;

    return STATUS_SUCCESS;
}

static inline VOID SoftwareReady(PDEVICE_OBJECT DeviceObject)
{
    DeviceObject->Flags |= DO_BUFFERED_IO;
    DeviceObject->Flags &= ~DO_DEVICE_INITIALIZING;
}

static inline VOID SoftwareDelete(PDEVICE_OBJECT DeviceObject, PUNICODE_STRING Link)
{
    IoDeleteSymbolicLink(Link);
    IoDeleteDevice(DeviceObject);
}
