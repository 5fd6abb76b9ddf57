/*
 * pnpfilter.c: an upper filter of a Plug and Play device that holds a remove lock.
 *
 * It passes everything down. Requests other than PnP and power ones get a completion routine, which runs after the dispatch routine has
 * returned when a driver below pends: the lock keeps the device, and the driver's code, until then. IOCTL_PNPFILTER_COUNT (0x00226400)
 * returns how many requests have come back (32 bits).
 *
 * Patterns:
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-a-device-in-a-filter-driver
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks
 */
#include "wdk.h"

#define FILTER_TAG 'tliF'
#define IOCTL_PNPFILTER_COUNT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_BUFFERED, FILE_READ_ACCESS)

typedef struct _PNPFILTER_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    IO_REMOVE_LOCK RemoveLock;
    volatile LONG Count;
} PNPFILTER_EXTENSION, *PPNPFILTER_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE FilterAddDevice;
DRIVER_UNLOAD FilterUnload;
DRIVER_DISPATCH FilterDispatch;
DRIVER_DISPATCH FilterDispatchDeviceControl;
DRIVER_DISPATCH FilterDispatchPnp;
DRIVER_DISPATCH FilterDispatchPower;
IO_COMPLETION_ROUTINE FilterDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = FilterDispatch;
    }

    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = FilterDispatchDeviceControl;
    DriverObject->MajorFunction[IRP_MJ_PNP] = FilterDispatchPnp;
    DriverObject->MajorFunction[IRP_MJ_POWER] = FilterDispatchPower;
    DriverObject->DriverExtension->AddDevice = FilterAddDevice;
    DriverObject->DriverUnload = FilterUnload;

    return STATUS_SUCCESS;
}

NTSTATUS FilterAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PPNPFILTER_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(
        DriverObject, sizeof(PNPFILTER_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    IoInitializeRemoveLock(&extension->RemoveLock, FILTER_TAG, 0, 0);
    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    deviceObject->DeviceType = extension->LowerDevice->DeviceType;
    deviceObject->Characteristics |= extension->LowerDevice->Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
    deviceObject->Flags |= extension->LowerDevice->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID FilterUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

static NTSTATUS FilterFail(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

NTSTATUS FilterDispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPNPFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FilterFail(Irp, status);
    }

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, FilterDone, NULL, TRUE, TRUE, TRUE);

    return IoCallDriver(extension->LowerDevice, Irp);
}

NTSTATUS FilterDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PPNPFILTER_EXTENSION extension = DeviceObject->DeviceExtension;

    UNREFERENCED_PARAMETER(Context);

    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }

    InterlockedIncrement(&extension->Count);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS FilterDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPNPFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

    if (stack->Parameters.DeviceIoControl.IoControlCode != IOCTL_PNPFILTER_COUNT) {
        return FilterDispatch(DeviceObject, Irp);
    }

    if (stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(LONG)) {
        return FilterFail(Irp, STATUS_BUFFER_TOO_SMALL);
    }

    *(PLONG)Irp->AssociatedIrp.SystemBuffer = extension->Count;
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = sizeof(LONG);
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return STATUS_SUCCESS;
}

NTSTATUS FilterDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPNPFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FilterFail(Irp, status);
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

NTSTATUS FilterDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPNPFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FilterFail(Irp, status);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = PoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}
