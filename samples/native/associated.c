/*
 * associated.c: the highest driver of a stack, which sends a READ or WRITE of more than 16 KiB down as associated IRPs of at most 16 KiB.
 *
 * The original is their master. It carries the number of associated IRPs in AssociatedIrp.IrpCount; the I/O manager counts down, frees each
 * associated IRP with its MDL, and completes the master with the last one. So the completion routine only notes what became of its part and
 * lets completion go on. There is nothing to free, and nobody to wait for.
 *
 * IrpCount and MasterIrp lie where a buffered request has its system buffer: only direct I/O can be divided like this. Everything else, and
 * every transfer that is small enough, is passed down as it is. Cancelling the master does not cancel its parts; a driver whose parts may
 * take long needs a cancel routine that does (see split.c).
 *
 * Pattern: IoMakeAssociatedIrp, partial MDLs, IoSetMasterIrpStatus.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-iomakeassociatedirp
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-iosetmasterirpstatus
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuildpartialmdl
 */
#include "wdk.h"

NTKERNELAPI VOID NTAPI IoSetMasterIrpStatus(PIRP MasterIrp, NTSTATUS Status);

#define ASSOCIATED_TAG 'cssA'
#define ASSOCIATED_PART_SIZE 0x4000

typedef struct _ASSOCIATED_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
    IO_REMOVE_LOCK RemoveLock;
    KSPIN_LOCK StatusLock; /* of the IoStatus of every master: parts come back on any processor */
} ASSOCIATED_EXTENSION, *PASSOCIATED_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE AssociatedAddDevice;
DRIVER_UNLOAD AssociatedUnload;
DRIVER_DISPATCH AssociatedDispatchPassDown;
DRIVER_DISPATCH AssociatedDispatchReadWrite;
DRIVER_DISPATCH AssociatedDispatchPnp;
IO_COMPLETION_ROUTINE AssociatedPartDone;

static BOOLEAN AssociatedIsDivisible(PASSOCIATED_EXTENSION Extension, PIRP Irp);
static PIRP AssociatedCreatePart(PASSOCIATED_EXTENSION Extension, PIRP Irp, ULONG Offset, ULONG Length);
static VOID AssociatedFreePart(PIRP Part);
static NTSTATUS AssociatedComplete(PIRP Irp, NTSTATUS Status);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = AssociatedDispatchPassDown;
    }

    DriverObject->MajorFunction[IRP_MJ_READ] = AssociatedDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = AssociatedDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_PNP] = AssociatedDispatchPnp;
    DriverObject->DriverExtension->AddDevice = AssociatedAddDevice;
    DriverObject->DriverUnload = AssociatedUnload;

    return STATUS_SUCCESS;
}

NTSTATUS AssociatedAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PASSOCIATED_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(
        DriverObject, sizeof(ASSOCIATED_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    IoInitializeRemoveLock(&extension->RemoveLock, ASSOCIATED_TAG, 0, 0);
    KeInitializeSpinLock(&extension->StatusLock);

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

VOID AssociatedUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS AssociatedDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PASSOCIATED_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return AssociatedComplete(Irp, status);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

NTSTATUS AssociatedDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PASSOCIATED_EXTENSION extension = DeviceObject->DeviceExtension;
    ULONG length = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read.Length;
    ULONG count = (length - 1) / ASSOCIATED_PART_SIZE + 1;
    PIRP *parts;
    ULONG i;

    if (!AssociatedIsDivisible(extension, Irp)) {
        return AssociatedDispatchPassDown(DeviceObject, Irp);
    }

    /* All of them before the first is sent: what has been sent cannot be taken back. */
    parts = ExAllocatePoolZero(NonPagedPoolNx, count * sizeof(PIRP), ASSOCIATED_TAG);
    if (parts == NULL) {
        return AssociatedComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
    }

    for (i = 0; i < count; i++) {
        ULONG offset = i * ASSOCIATED_PART_SIZE;

        parts[i] = AssociatedCreatePart(extension, Irp, offset, min(length - offset, ASSOCIATED_PART_SIZE));
        if (parts[i] == NULL) {
            while (i-- > 0) {
                AssociatedFreePart(parts[i]);
                IoReleaseRemoveLock(&extension->RemoveLock, parts[i]);
            }

            ExFreePoolWithTag(parts, ASSOCIATED_TAG);
            return AssociatedComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
        }
    }

    IoMarkIrpPending(Irp);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    Irp->AssociatedIrp.IrpCount = (LONG)count;

    /* With the last part the master may be gone. */
    for (i = 0; i < count; i++) {
        (VOID)IoCallDriver(extension->LowerDevice, parts[i]);
    }

    ExFreePoolWithTag(parts, ASSOCIATED_TAG);

    return STATUS_PENDING;
}

/* Only a plain transfer at a plain offset (negative ones stand for "end of file" and "file position"), described by one MDL. */
static BOOLEAN AssociatedIsDivisible(PASSOCIATED_EXTENSION Extension, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    return (Extension->LowerDevice->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO)) == DO_DIRECT_IO &&
        location->MinorFunction == IRP_MN_NORMAL && location->Parameters.Read.Length > ASSOCIATED_PART_SIZE &&
        location->Parameters.Read.ByteOffset.QuadPart >= 0 && Irp->MdlAddress != NULL &&
        MmGetMdlByteCount(Irp->MdlAddress) >= location->Parameters.Read.Length;
}

static PIRP AssociatedCreatePart(PASSOCIATED_EXTENSION Extension, PIRP Irp, ULONG Offset, ULONG Length)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    PVOID address = (PUCHAR)MmGetMdlVirtualAddress(Irp->MdlAddress) + Offset;
    PIO_STACK_LOCATION next;
    PIRP part;

    part = IoMakeAssociatedIrp(Irp, Extension->LowerDevice->StackSize);
    if (part == NULL) {
        return NULL;
    }

    /* Stores the MDL in part->MdlAddress. */
    if (IoAllocateMdl(address, Length, FALSE, FALSE, part) == NULL) {
        AssociatedFreePart(part);
        return NULL;
    }

    IoBuildPartialMdl(Irp->MdlAddress, part->MdlAddress, address, Length);

    /* The device stays until its last part is back. */
    if (!NT_SUCCESS(IoAcquireRemoveLock(&Extension->RemoveLock, part))) {
        AssociatedFreePart(part);
        return NULL;
    }

    part->RequestorMode = Irp->RequestorMode;

    next = IoGetNextIrpStackLocation(part);
    next->MajorFunction = location->MajorFunction;
    next->MinorFunction = location->MinorFunction;
    next->Flags = location->Flags;
    next->FileObject = location->FileObject;
    next->Parameters.Read = location->Parameters.Read;
    next->Parameters.Read.Length = Length;
    next->Parameters.Read.ByteOffset.QuadPart += Offset;
    IoSetCompletionRoutine(part, AssociatedPartDone, Extension, TRUE, TRUE, TRUE);

    return part;
}

/* A part that was not sent. */
static VOID AssociatedFreePart(PIRP Part)
{
    if (Part->MdlAddress != NULL) {
        IoFreeMdl(Part->MdlAddress);
    }

    IoFreeIrp(Part);
}

/* DeviceObject is NULL here: who makes an IRP has no stack location in it. The I/O manager does the rest. */
NTSTATUS AssociatedPartDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PASSOCIATED_EXTENSION extension = Context;
    PIRP master = Irp->AssociatedIrp.MasterIrp;
    KIRQL irql;

    UNREFERENCED_PARAMETER(DeviceObject);

    KeAcquireSpinLock(&extension->StatusLock, &irql);
    if (NT_SUCCESS(Irp->IoStatus.Status)) {
        master->IoStatus.Information += Irp->IoStatus.Information;
    } else {
        IoSetMasterIrpStatus(master, Irp->IoStatus.Status);
    }
    if (!NT_SUCCESS(master->IoStatus.Status)) {
        master->IoStatus.Information = 0;
    }
    KeReleaseSpinLock(&extension->StatusLock, irql);

    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS AssociatedDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PASSOCIATED_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return AssociatedComplete(Irp, status);
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

static NTSTATUS AssociatedComplete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
