/*
 * retry.c: an upper filter that sends a failed READ or WRITE down again, up to RETRY_LIMIT times.
 *
 * The IRP is reused, not copied. The dispatch routine marks it pending before it goes down and always returns STATUS_PENDING, which leaves
 * the completion routine free to start over: it restores the IRP as the dispatch routine first sent it, calls the lower driver and stops
 * the walk with STATUS_MORE_PROCESSING_REQUIRED. A retry may complete inside that very call, so the routine nests up to RETRY_LIMIT deep
 * and must not touch the IRP or its context afterwards.
 *
 * Pattern: "pend, then forward" (scenario 4) with a reused IRP.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks
 */
#include "wdk.h"

#define RETRY_TAG 'yrtR'
#define RETRY_LIMIT 3

typedef struct _RETRY_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    IO_REMOVE_LOCK RemoveLock;
} RETRY_EXTENSION, *PRETRY_EXTENSION;

/* One per READ or WRITE on its way; nonpaged, because completion routines run at up to DISPATCH_LEVEL. */
typedef struct _RETRY_CONTEXT {
    PRETRY_EXTENSION Extension;
    ULONG RetriesLeft;
} RETRY_CONTEXT, *PRETRY_CONTEXT;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE RetryAddDevice;
DRIVER_UNLOAD RetryUnload;
DRIVER_DISPATCH RetryDispatchPassDown;
DRIVER_DISPATCH RetryDispatchReadWrite;
DRIVER_DISPATCH RetryDispatchPnp;
IO_COMPLETION_ROUTINE RetryDone;

static NTSTATUS RetrySend(PIRP Irp, PRETRY_CONTEXT Context);
static NTSTATUS RetryComplete(PIRP Irp, NTSTATUS Status);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = RetryDispatchPassDown;
    }

    DriverObject->MajorFunction[IRP_MJ_READ] = RetryDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = RetryDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_PNP] = RetryDispatchPnp;
    DriverObject->DriverExtension->AddDevice = RetryAddDevice;
    DriverObject->DriverUnload = RetryUnload;

    return STATUS_SUCCESS;
}

NTSTATUS RetryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PRETRY_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(
        DriverObject, sizeof(RETRY_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    IoInitializeRemoveLock(&extension->RemoveLock, RETRY_TAG, 0, 0);

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

VOID RetryUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS RetryDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PRETRY_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return RetryComplete(Irp, status);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    /* The IRP may be gone; as a tag its address is only a number. */
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

NTSTATUS RetryDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PRETRY_EXTENSION extension = DeviceObject->DeviceExtension;
    PRETRY_CONTEXT context;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return RetryComplete(Irp, status);
    }

    context = ExAllocatePoolZero(NonPagedPoolNx, sizeof(RETRY_CONTEXT), RETRY_TAG);
    if (context == NULL) {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return RetryComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
    }

    context->Extension = extension;
    context->RetriesLeft = RETRY_LIMIT;

    /* From here on the result belongs to the completion routine: what the lower driver returns no longer matters. */
    IoMarkIrpPending(Irp);
    (VOID)RetrySend(Irp, context);

    return STATUS_PENDING;
}

static NTSTATUS RetrySend(PIRP Irp, PRETRY_CONTEXT Context)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, RetryDone, Context, TRUE, TRUE, TRUE);

    return IoCallDriver(Context->Extension->LowerDevice, Irp);
}

NTSTATUS RetryDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PRETRY_CONTEXT context = Context;
    PRETRY_EXTENSION extension = context->Extension;

    UNREFERENCED_PARAMETER(DeviceObject);

    /* A warning carries data and is an answer; a request its issuer has given up is not worth another try. */
    if (NT_ERROR(Irp->IoStatus.Status) && !Irp->Cancel && context->RetriesLeft != 0) {
        context->RetriesLeft--;

        Irp->IoStatus.Status = STATUS_SUCCESS;
        Irp->IoStatus.Information = 0;
        (VOID)RetrySend(Irp, context);

        return STATUS_MORE_PROCESSING_REQUIRED;
    }

    ExFreePoolWithTag(context, RETRY_TAG);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    /* No IoMarkIrpPending: the dispatch routine's mark still stands in this driver's stack location. */
    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS RetryDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PRETRY_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return RetryComplete(Irp, status);
    }

    if (minor == IRP_MN_REMOVE_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    if (minor == IRP_MN_REMOVE_DEVICE) {
        /* Waits until every request this driver still holds has come back. */
        IoReleaseRemoveLockAndWait(&extension->RemoveLock, Irp);
        IoDetachDevice(extension->LowerDevice);
        IoDeleteDevice(DeviceObject);
    } else {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
    }

    return status;
}

static NTSTATUS RetryComplete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
