/*
 * broken-freeirp.c: frees an IRP of its own twice.
 *
 * When a file is closed, the filter flushes the device below with an IRP of its own, and waits. The completion routine notes the result,
 * frees the IRP, wakes the dispatch routine and stops the completion; the dispatch routine, which had allocated the IRP, frees it too.
 *
 * On Windows: bug check 0x44 or 0xC2, or pool corruption that shows much later; with Driver Verifier bug check 0xC9, parameter 1 = 0x1.
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iofreeirp
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers
 */
#include "upper.h"

typedef struct _FREEIRP_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG Failures;
} FREEIRP_EXTENSION, *PFREEIRP_EXTENSION;

/* On the stack of the dispatch routine, which waits. */
typedef struct _FLUSH_CONTEXT {
    KEVENT Done;
    NTSTATUS Status;
} FLUSH_CONTEXT, *PFLUSH_CONTEXT;

DRIVER_ADD_DEVICE BrokenFreeIrpAddDevice;
DRIVER_DISPATCH BrokenFreeIrpDispatchCleanup;
IO_COMPLETION_ROUTINE BrokenFreeIrpFlushDone;

static NTSTATUS BrokenFreeIrpFlush(PDEVICE_OBJECT LowerDevice, PFILE_OBJECT FileObject);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenFreeIrpAddDevice);
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = BrokenFreeIrpDispatchCleanup;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenFreeIrpAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(FREEIRP_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

/* Called at PASSIVE_LEVEL in the closing thread: it may wait. */
NTSTATUS BrokenFreeIrpDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFREEIRP_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    status = BrokenFreeIrpFlush(extension->Upper.LowerDevice, IoGetCurrentIrpStackLocation(Irp)->FileObject);
    if (!NT_SUCCESS(status)) {
        InterlockedIncrement(&extension->Failures);
    }

    /* A file can be closed whether or not its data could be saved. */
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->Upper.LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;
}

static NTSTATUS BrokenFreeIrpFlush(PDEVICE_OBJECT LowerDevice, PFILE_OBJECT FileObject)
{
    PIO_STACK_LOCATION next;
    FLUSH_CONTEXT context;
    PIRP irp;

    irp = IoAllocateIrp(LowerDevice->StackSize, FALSE);
    if (irp == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    KeInitializeEvent(&context.Done, NotificationEvent, FALSE);
    next = IoGetNextIrpStackLocation(irp);
    next->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
    next->FileObject = FileObject;
    IoSetCompletionRoutine(irp, BrokenFreeIrpFlushDone, &context, TRUE, TRUE, TRUE);

    (VOID)IoCallDriver(LowerDevice, irp);
    KeWaitForSingleObject(&context.Done, Executive, KernelMode, FALSE, NULL);

#ifndef FIXED
    IoFreeIrp(irp); /* BUG: the completion routine has freed it. */
#endif

    return context.Status;
}

NTSTATUS BrokenFreeIrpFlushDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PFLUSH_CONTEXT context = Context;

    UNREFERENCED_PARAMETER(DeviceObject);

    context->Status = Irp->IoStatus.Status;
    IoFreeIrp(Irp);
    KeSetEvent(&context->Done, IO_NO_INCREMENT, FALSE);

    return STATUS_MORE_PROCESSING_REQUIRED;
}
