/*
 * broken-forgotten.c: returns from a dispatch routine without having completed the IRP.
 *
 * \Device\Forgotten0 (\DosDevices\Forgotten0) keeps the settings of some device: IOCTL_FORGOTTEN_GET (0x00226008) returns them,
 * IOCTL_FORGOTTEN_SET (0x0022A00C) replaces them. Settings of the wrong version are refused, by a return in the middle of the routine, which
 * skips the IoCompleteRequest at its end.
 *
 * On Windows: the thread that asked waits for ever and cannot be ended; with Driver Verifier bug check 0xC9, parameter 1 = 0x226.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/completing-irps
 *   https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-irpprocessingcomplete
 */
#include "software.h"

#define FORGOTTEN_DEVICE_NAME L"\\Device\\Forgotten0"
#define FORGOTTEN_LINK_NAME L"\\DosDevices\\Forgotten0"
#define FORGOTTEN_VERSION 1

#define IOCTL_FORGOTTEN_GET CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_READ_ACCESS)
#define IOCTL_FORGOTTEN_SET CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_BUFFERED, FILE_WRITE_ACCESS)

typedef struct _FORGOTTEN_SETTINGS {
    ULONG Version;
    ULONG Timeout;
} FORGOTTEN_SETTINGS, *PFORGOTTEN_SETTINGS;

typedef struct _FORGOTTEN_EXTENSION {
    FAST_MUTEX Lock;
    FORGOTTEN_SETTINGS Settings;
} FORGOTTEN_EXTENSION, *PFORGOTTEN_EXTENSION;

DRIVER_UNLOAD BrokenForgottenUnload;
DRIVER_DISPATCH BrokenForgottenDispatchDeviceControl;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(FORGOTTEN_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(FORGOTTEN_LINK_NAME);
    PFORGOTTEN_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = SoftwareCreate(DriverObject, &deviceName, &linkName, sizeof(FORGOTTEN_EXTENSION), &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    ExInitializeFastMutex(&extension->Lock);
    extension->Settings.Version = FORGOTTEN_VERSION;
    extension->Settings.Timeout = 1000;

    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BrokenForgottenDispatchDeviceControl;
    DriverObject->DriverUnload = BrokenForgottenUnload;
    SoftwareReady(deviceObject);

    return STATUS_SUCCESS;
}

VOID BrokenForgottenUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(FORGOTTEN_LINK_NAME);

    SoftwareDelete(DriverObject->DeviceObject, &linkName);
}

NTSTATUS BrokenForgottenDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFORGOTTEN_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    PFORGOTTEN_SETTINGS settings = Irp->AssociatedIrp.SystemBuffer;
    ULONG_PTR information = 0;
    NTSTATUS status = STATUS_SUCCESS;

    switch (location->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_FORGOTTEN_GET:
        if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(*settings)) {
            status = STATUS_BUFFER_TOO_SMALL;
            break;
        }

        ExAcquireFastMutex(&extension->Lock);
        *settings = extension->Settings;
        ExReleaseFastMutex(&extension->Lock);
        information = sizeof(*settings);
        break;

    case IOCTL_FORGOTTEN_SET:
        if (location->Parameters.DeviceIoControl.InputBufferLength < sizeof(*settings)) {
            status = STATUS_INVALID_PARAMETER;
            break;
        }

        if (settings->Version != FORGOTTEN_VERSION) {
#ifdef FIXED
            status = STATUS_REVISION_MISMATCH;
            break;
#else
            return STATUS_REVISION_MISMATCH; /* BUG: nobody completes the IRP. */
#endif
        }

        ExAcquireFastMutex(&extension->Lock);
        extension->Settings = *settings;
        ExReleaseFastMutex(&extension->Lock);
        break;

    default:
        status = STATUS_INVALID_DEVICE_REQUEST;
        break;
    }

    return SoftwareComplete(Irp, status, information);
}
