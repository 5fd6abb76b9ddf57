/*
 * broken-leakirp.c: does not free an IRP of its own when the request fails.
 *
 * The filter reads ahead: with every READ it also asks for the bytes that follow, in an IRP of its own with a buffer of its own, so that the
 * devices below have them at hand. Nobody waits for that IRP; its completion routine frees what it took. An error makes the routine leave
 * early: buffer and remove lock are remembered, the IRP is not. Reading the last bytes of a disk is enough.
 *
 * On Windows: nonpaged pool is used up, tag Irp, one IRP for every failed read-ahead.
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioallocateirp
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers
 */
#include "upper.h"

#define LEAKIRP_TAG 'daeR'
#define LEAKIRP_LENGTH 512

typedef struct _LEAKIRP_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG ReadAhead;
    volatile LONG Failures;
} LEAKIRP_EXTENSION, *PLEAKIRP_EXTENSION;

/* One per IRP that reads ahead; nonpaged. */
typedef struct _READ_AHEAD {
    PLEAKIRP_EXTENSION Extension;
    UCHAR Data[LEAKIRP_LENGTH];
} READ_AHEAD, *PREAD_AHEAD;

DRIVER_ADD_DEVICE BrokenLeakIrpAddDevice;
DRIVER_DISPATCH BrokenLeakIrpDispatchRead;
IO_COMPLETION_ROUTINE BrokenLeakIrpReadAheadDone;

static VOID BrokenLeakIrpReadAhead(PLEAKIRP_EXTENSION Extension, PIO_STACK_LOCATION Location);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenLeakIrpAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenLeakIrpDispatchRead;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenLeakIrpAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(LEAKIRP_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

NTSTATUS BrokenLeakIrpDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PLEAKIRP_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    if (extension->Upper.LowerDevice->Flags & DO_DIRECT_IO && location->Parameters.Read.ByteOffset.QuadPart >= 0) {
        BrokenLeakIrpReadAhead(extension, location);
    }

    return UpperDispatchPassDown(DeviceObject, Irp);
}

/* Reading ahead is a favour: whatever it lacks, it lets be. */
static VOID BrokenLeakIrpReadAhead(PLEAKIRP_EXTENSION Extension, PIO_STACK_LOCATION Location)
{
    PDEVICE_OBJECT lowerDevice = Extension->Upper.LowerDevice;
    PIO_STACK_LOCATION next;
    PREAD_AHEAD readAhead;
    PIRP irp;

    readAhead = ExAllocatePoolZero(NonPagedPoolNx, sizeof(READ_AHEAD), LEAKIRP_TAG);
    if (readAhead == NULL) {
        return;
    }

    irp = IoAllocateIrp(lowerDevice->StackSize, FALSE);
    if (irp == NULL) {
        ExFreePoolWithTag(readAhead, LEAKIRP_TAG);
        return;
    }

    if (IoAllocateMdl(readAhead->Data, LEAKIRP_LENGTH, FALSE, FALSE, irp) == NULL ||
        !NT_SUCCESS(IoAcquireRemoveLock(&Extension->Upper.RemoveLock, irp))) {
        if (irp->MdlAddress != NULL) {
            IoFreeMdl(irp->MdlAddress);
        }
        IoFreeIrp(irp);
        ExFreePoolWithTag(readAhead, LEAKIRP_TAG);
        return;
    }

    MmBuildMdlForNonPagedPool(irp->MdlAddress);
    readAhead->Extension = Extension;

    next = IoGetNextIrpStackLocation(irp);
    next->MajorFunction = IRP_MJ_READ;
    next->FileObject = Location->FileObject;
    next->Parameters.Read.Length = LEAKIRP_LENGTH;
    next->Parameters.Read.ByteOffset.QuadPart = Location->Parameters.Read.ByteOffset.QuadPart + Location->Parameters.Read.Length;
    IoSetCompletionRoutine(irp, BrokenLeakIrpReadAheadDone, readAhead, TRUE, TRUE, TRUE);

    (VOID)IoCallDriver(lowerDevice, irp);
}

NTSTATUS BrokenLeakIrpReadAheadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PREAD_AHEAD readAhead = Context;
    PLEAKIRP_EXTENSION extension = readAhead->Extension;
    NTSTATUS status = Irp->IoStatus.Status;

    UNREFERENCED_PARAMETER(DeviceObject);

    IoFreeMdl(Irp->MdlAddress);
    ExFreePoolWithTag(readAhead, LEAKIRP_TAG);

    if (!NT_SUCCESS(status)) {
        InterlockedIncrement(&extension->Failures);
#ifdef FIXED
        IoFreeIrp(Irp);
#endif
        IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);
        return STATUS_MORE_PROCESSING_REQUIRED; /* BUG: nobody has the IRP now. */
    }

    InterlockedIncrement(&extension->ReadAhead);
    IoFreeIrp(Irp);
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return STATUS_MORE_PROCESSING_REQUIRED;
}
