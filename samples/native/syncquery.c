/*
 * syncquery.c: an upper filter that asks the device below for its length and first 512 bytes, and clips reads to that length.
 *
 * Both questions are synchronous requests: IRPs that the I/O manager builds for the current thread, completes into an event and a status
 * block, and frees. Three rules make them safe:
 *   - They finish by an APC in the building thread, so they need PASSIVE_LEVEL with APCs enabled. For the same reason the lock around them
 *     is a mutex: a fast mutex would raise to APC_LEVEL and the wait would never end.
 *   - The event starts non-signalled, and the driver sets no completion routine and never frees the IRP.
 *   - Only after STATUS_PENDING does the result lie in the status block; an error returned at once may leave the block unwritten.
 *
 * The filter asks when the device is first opened, or before the first read if nobody opened it, and again at IOCTL_SYNCQUERY_GET_RESULT.
 *
 * Pattern: synchronous (threaded) IRPs without a completion routine, scenarios 6 and 8 of
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuilddeviceiocontrolrequest
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuildsynchronousfsdrequest
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ni-ntdddisk-ioctl_disk_get_length_info
 */
#include "wdk.h"
#include <ntdddisk.h>

#define SYNCQUERY_TAG 'rQyS'
#define SYNCQUERY_SECTOR_SIZE 512

/* No input; output: one SYNCQUERY_RESULT. */
#define IOCTL_SYNCQUERY_GET_RESULT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS)

typedef struct _SYNCQUERY_RESULT {
    NTSTATUS LengthStatus; /* STATUS_DEVICE_NOT_READY until the filter has asked */
    NTSTATUS ReadStatus;
    LONGLONG Length;        /* in bytes; valid if LengthStatus is a success */
    ULONG FirstBytesLength; /* how much of FirstBytes was read */
    UCHAR FirstBytes[SYNCQUERY_SECTOR_SIZE];
} SYNCQUERY_RESULT, *PSYNCQUERY_RESULT;

typedef struct _SYNCQUERY_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    IO_REMOVE_LOCK RemoveLock;
    KMUTEX Lock; /* guards Result and the queries that fill it */
    SYNCQUERY_RESULT Result;
    volatile LONG Queried;         /* set after Length, read without the lock */
    volatile LONGLONG LengthLimit; /* reads are clipped here; MAXLONGLONG if the length is unknown */
} SYNCQUERY_EXTENSION, *PSYNCQUERY_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE SyncQueryAddDevice;
DRIVER_UNLOAD SyncQueryUnload;
DRIVER_DISPATCH SyncQueryDispatchPassDown;
DRIVER_DISPATCH SyncQueryDispatchCreate;
DRIVER_DISPATCH SyncQueryDispatchRead;
DRIVER_DISPATCH SyncQueryDispatchDeviceControl;
DRIVER_DISPATCH SyncQueryDispatchPnp;

static NTSTATUS SyncQueryAsk(PSYNCQUERY_EXTENSION Extension, BOOLEAN Again, PSYNCQUERY_RESULT Result);
static NTSTATUS SyncQueryGetLength(PDEVICE_OBJECT LowerDevice, PLONGLONG Length);
static NTSTATUS SyncQueryReadFirstBytes(PDEVICE_OBJECT LowerDevice, PUCHAR Buffer, PULONG Length);
static NTSTATUS SyncQuerySendAndWait(PDEVICE_OBJECT LowerDevice, PIRP Irp, PKEVENT Event, PIO_STATUS_BLOCK IoStatus);
static NTSTATUS SyncQueryForward(PSYNCQUERY_EXTENSION Extension, PIRP Irp);
static NTSTATUS SyncQueryComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = SyncQueryDispatchPassDown;
    }

    DriverObject->MajorFunction[IRP_MJ_CREATE] = SyncQueryDispatchCreate;
    DriverObject->MajorFunction[IRP_MJ_READ] = SyncQueryDispatchRead;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = SyncQueryDispatchDeviceControl;
    DriverObject->MajorFunction[IRP_MJ_PNP] = SyncQueryDispatchPnp;
    DriverObject->DriverExtension->AddDevice = SyncQueryAddDevice;
    DriverObject->DriverUnload = SyncQueryUnload;

    return STATUS_SUCCESS;
}

NTSTATUS SyncQueryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PSYNCQUERY_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(
        DriverObject, sizeof(SYNCQUERY_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    IoInitializeRemoveLock(&extension->RemoveLock, SYNCQUERY_TAG, 0, 0);
    KeInitializeMutex(&extension->Lock, 0);
    extension->Result.LengthStatus = STATUS_DEVICE_NOT_READY;
    extension->Result.ReadStatus = STATUS_DEVICE_NOT_READY;
    extension->LengthLimit = MAXLONGLONG;

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

VOID SyncQueryUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS SyncQueryDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSYNCQUERY_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SyncQueryComplete(Irp, status, 0);
    }

    return SyncQueryForward(extension, Irp);
}

NTSTATUS SyncQueryDispatchCreate(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSYNCQUERY_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SyncQueryComplete(Irp, status, 0);
    }

    (VOID)SyncQueryAsk(extension, FALSE, NULL);

    return SyncQueryForward(extension, Irp);
}

NTSTATUS SyncQueryDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSYNCQUERY_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    LONGLONG offset = location->Parameters.Read.ByteOffset.QuadPart;
    ULONG length = location->Parameters.Read.Length;
    LONGLONG limit;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SyncQueryComplete(Irp, status, 0);
    }

    if (!extension->Queried) {
        (VOID)SyncQueryAsk(extension, FALSE, NULL);
    }

    /* Empty reads and the special negative offsets are the lower driver's business. */
    limit = extension->LengthLimit;
    if (length == 0 || offset < 0 || (offset < limit && length <= limit - offset)) {
        return SyncQueryForward(extension, Irp);
    }

    if (offset >= limit) {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return SyncQueryComplete(Irp, STATUS_END_OF_FILE, 0);
    }

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoGetNextIrpStackLocation(Irp)->Parameters.Read.Length = (ULONG)(limit - offset);
    status = IoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

NTSTATUS SyncQueryDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSYNCQUERY_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SyncQueryComplete(Irp, status, 0);
    }

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_SYNCQUERY_GET_RESULT) {
        return SyncQueryForward(extension, Irp);
    }

    if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(SYNCQUERY_RESULT)) {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return SyncQueryComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }

    status = SyncQueryAsk(extension, TRUE, Irp->AssociatedIrp.SystemBuffer);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return SyncQueryComplete(Irp, status, NT_SUCCESS(status) ? sizeof(SYNCQUERY_RESULT) : 0);
}

/* Asks the lower device if nobody has yet, or if told to ask again, and copies the answers to Result unless that is NULL. */
static NTSTATUS SyncQueryAsk(PSYNCQUERY_EXTENSION Extension, BOOLEAN Again, PSYNCQUERY_RESULT Result)
{
    PSYNCQUERY_RESULT result = &Extension->Result;

    /* Paging I/O comes with APCs disabled; it has to do without an answer. */
    if (KeAreAllApcsDisabled()) {
        return STATUS_CANT_WAIT;
    }

    KeWaitForSingleObject(&Extension->Lock, Executive, KernelMode, FALSE, NULL);

    if (Again || !Extension->Queried) {
        result->LengthStatus = SyncQueryGetLength(Extension->LowerDevice, &result->Length);
        result->ReadStatus = SyncQueryReadFirstBytes(Extension->LowerDevice, result->FirstBytes, &result->FirstBytesLength);

        Extension->LengthLimit = NT_SUCCESS(result->LengthStatus) ? result->Length : MAXLONGLONG;
        Extension->Queried = TRUE;
    }

    if (Result != NULL) {
        *Result = *result;
    }

    KeReleaseMutex(&Extension->Lock, FALSE);

    return STATUS_SUCCESS;
}

static NTSTATUS SyncQueryGetLength(PDEVICE_OBJECT LowerDevice, PLONGLONG Length)
{
    GET_LENGTH_INFORMATION information;
    IO_STATUS_BLOCK ioStatus;
    KEVENT event;
    NTSTATUS status;
    PIRP irp;

    *Length = 0;
    KeInitializeEvent(&event, NotificationEvent, FALSE);

    irp = IoBuildDeviceIoControlRequest(
        IOCTL_DISK_GET_LENGTH_INFO, LowerDevice, NULL, 0, &information, sizeof(information), FALSE, &event, &ioStatus);
    if (irp == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = SyncQuerySendAndWait(LowerDevice, irp, &event, &ioStatus);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (ioStatus.Information < sizeof(information) || information.Length.QuadPart < 0) {
        return STATUS_INVALID_DEVICE_STATE;
    }

    *Length = information.Length.QuadPart;

    return status;
}

static NTSTATUS SyncQueryReadFirstBytes(PDEVICE_OBJECT LowerDevice, PUCHAR Buffer, PULONG Length)
{
    LARGE_INTEGER offset;
    IO_STATUS_BLOCK ioStatus;
    KEVENT event;
    NTSTATUS status;
    PIRP irp;

    *Length = 0;
    offset.QuadPart = 0;
    KeInitializeEvent(&event, NotificationEvent, FALSE);

    irp = IoBuildSynchronousFsdRequest(IRP_MJ_READ, LowerDevice, Buffer, SYNCQUERY_SECTOR_SIZE, &offset, &event, &ioStatus);
    if (irp == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = SyncQuerySendAndWait(LowerDevice, irp, &event, &ioStatus);
    if (NT_SUCCESS(status)) {
        *Length = (ULONG)ioStatus.Information;
    }

    return status;
}

static NTSTATUS SyncQuerySendAndWait(PDEVICE_OBJECT LowerDevice, PIRP Irp, PKEVENT Event, PIO_STATUS_BLOCK IoStatus)
{
    NTSTATUS status = IoCallDriver(LowerDevice, Irp);

    if (status == STATUS_PENDING) {
        KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, NULL);
        status = IoStatus->Status;
    }

    return status;
}

/* Passes the IRP down and gives back the remove lock that the caller acquired for it. */
static NTSTATUS SyncQueryForward(PSYNCQUERY_EXTENSION Extension, PIRP Irp)
{
    NTSTATUS status;

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&Extension->RemoveLock, Irp);

    return status;
}

NTSTATUS SyncQueryDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSYNCQUERY_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return SyncQueryComplete(Irp, status, 0);
    }

    if (minor == IRP_MN_REMOVE_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    if (minor != IRP_MN_REMOVE_DEVICE) {
        return SyncQueryForward(extension, Irp);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    IoReleaseRemoveLockAndWait(&extension->RemoveLock, Irp);
    IoDetachDevice(extension->LowerDevice);
    IoDeleteDevice(DeviceObject);

    return status;
}

static NTSTATUS SyncQueryComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
