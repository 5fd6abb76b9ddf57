/*
 * startio.c: the driver of a block device with registers, a data port and an interrupt.
 *
 * \Device\StartIo0 (\DosDevices\StartIo0), buffered I/O in whole blocks of 512 bytes. The device works on one block at a time:
 *
 *   physical 0xFE000000   COMMAND  write: 1 = read a block, 2 = write a block, 0 = stop interrupting, 3 = begin interrupting
 *            +4           STATUS   read: 1 = done, 2 = failed; writing 1 acknowledges, which ends the interrupt request
 *            +8           BLOCK    number of the block
 *            +C           ID       0x314F4953
 *   port     0x300        DATA     16 bits: the 512 bytes of the block, one word after the other
 *   IRQ      11           level-sensitive
 *
 * READ and WRITE go through IoStartPacket, so that StartIo gets one at a time and the others wait in the device object's queue, where each
 * can be cancelled. StartIo programs the device; its interrupt is acknowledged by the ISR, which queues DpcForIsr; that moves the data,
 * programs the next block, or completes the IRP and starts the next one.
 *
 * Patterns: "StartIo Routines in Lowest-Level Drivers", "Cancel Routines in Drivers with StartIo Routines", "Writing an ISR".
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/startio-routines-in-lowest-level-drivers
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-routines-in-drivers-with-startio-routines
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-an-isr
 */
#include "wdk.h"

#define STARTIO_DEVICE_NAME L"\\Device\\StartIo0"
#define STARTIO_LINK_NAME L"\\DosDevices\\StartIo0"
#define STARTIO_REGISTERS 0xFE000000
#define STARTIO_DATA_PORT 0x300
#define STARTIO_IRQ 11
#define STARTIO_ID 0x314F4953
#define STARTIO_BLOCK_SIZE 512

#define STARTIO_COMMAND_DISABLE 0
#define STARTIO_COMMAND_READ 1
#define STARTIO_COMMAND_WRITE 2
#define STARTIO_COMMAND_ENABLE 3

#define STARTIO_STATUS_DONE 1
#define STARTIO_STATUS_FAILED 2

typedef struct _STARTIO_REGISTER_FILE {
    ULONG Command;
    ULONG Status;
    ULONG Block;
    ULONG Id;
} STARTIO_REGISTER_FILE, *PSTARTIO_REGISTER_FILE;

typedef struct _STARTIO_EXTENSION {
    PDEVICE_OBJECT DeviceObject;
    PSTARTIO_REGISTER_FILE Registers;
    PKINTERRUPT Interrupt;
    PUCHAR Buffer; /* of the current IRP, at the block that is under way */
    ULONG Block;
    ULONG BlocksLeft;
    ULONG Status; /* as the ISR found it; guarded by the interrupt's spin lock */
} STARTIO_EXTENSION, *PSTARTIO_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD StartIoUnload;
DRIVER_DISPATCH StartIoDispatchCreateClose;
DRIVER_DISPATCH StartIoDispatchReadWrite;
DRIVER_CANCEL StartIoCancel;
DRIVER_STARTIO StartIoStart;
KSYNCHRONIZE_ROUTINE StartIoProgram;
KSERVICE_ROUTINE StartIoInterrupt;
IO_DPC_ROUTINE StartIoDpcForIsr;

static NTSTATUS StartIoConnect(PSTARTIO_EXTENSION Extension);
static NTSTATUS StartIoComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(STARTIO_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(STARTIO_LINK_NAME);
    PHYSICAL_ADDRESS physical = { .QuadPart = STARTIO_REGISTERS };
    PSTARTIO_EXTENSION extension;
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = IoCreateDevice(
        DriverObject, sizeof(STARTIO_EXTENSION), &deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    extension->DeviceObject = deviceObject;
    IoInitializeDpcRequest(deviceObject, StartIoDpcForIsr);

    /* StartIo calls IoStartNextPacket for cancelled IRPs: a long queue of them must not nest. */
    IoSetStartIoAttributes(deviceObject, TRUE, TRUE);

    extension->Registers = MmMapIoSpace(physical, sizeof(STARTIO_REGISTER_FILE), MmNonCached);
    if (extension->Registers == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = StartIoConnect(extension);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&linkName, &deviceName);
        if (!NT_SUCCESS(status)) {
            IoDisconnectInterrupt(extension->Interrupt);
        }
    }

    if (!NT_SUCCESS(status)) {
        MmUnmapIoSpace(extension->Registers, sizeof(STARTIO_REGISTER_FILE));
        IoDeleteDevice(deviceObject);
        return status;
    }

    DriverObject->MajorFunction[IRP_MJ_CREATE] = StartIoDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = StartIoDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_READ] = StartIoDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = StartIoDispatchReadWrite;
    DriverObject->DriverStartIo = StartIoStart;
    DriverObject->DriverUnload = StartIoUnload;

    WRITE_REGISTER_ULONG(&extension->Registers->Command, STARTIO_COMMAND_ENABLE);

    deviceObject->Flags |= DO_BUFFERED_IO;
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

static NTSTATUS StartIoConnect(PSTARTIO_EXTENSION Extension)
{
    KAFFINITY affinity;
    ULONG vector;
    KIRQL irql;

    if (READ_REGISTER_ULONG(&Extension->Registers->Id) != STARTIO_ID) {
        return STATUS_NO_SUCH_DEVICE;
    }

    vector = HalGetInterruptVector(Internal, 0, STARTIO_IRQ, STARTIO_IRQ, &irql, &affinity);

    return IoConnectInterrupt(
        &Extension->Interrupt, StartIoInterrupt, Extension, NULL, vector, irql, irql, LevelSensitive, TRUE, affinity, FALSE);
}

VOID StartIoUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(STARTIO_LINK_NAME);
    PDEVICE_OBJECT deviceObject = DriverObject->DeviceObject;
    PSTARTIO_EXTENSION extension = deviceObject->DeviceExtension;

    WRITE_REGISTER_ULONG(&extension->Registers->Command, STARTIO_COMMAND_DISABLE);
    IoDisconnectInterrupt(extension->Interrupt);

    /* All files are closed, so every IRP is completed; but the DPC that completed the last may not have returned yet. */
    KeFlushQueuedDpcs();

    MmUnmapIoSpace(extension->Registers, sizeof(STARTIO_REGISTER_FILE));
    IoDeleteSymbolicLink(&linkName);
    IoDeleteDevice(deviceObject);
}

NTSTATUS StartIoDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return StartIoComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS StartIoDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

    /* READ and WRITE share the layout of their parameters. */
    if (location->Parameters.Read.ByteOffset.QuadPart < 0 || location->Parameters.Read.ByteOffset.QuadPart % STARTIO_BLOCK_SIZE != 0 ||
        location->Parameters.Read.Length % STARTIO_BLOCK_SIZE != 0) {
        return StartIoComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }

    if (location->Parameters.Read.Length == 0) {
        return StartIoComplete(Irp, STATUS_SUCCESS, 0);
    }

    IoMarkIrpPending(Irp);
    IoStartPacket(DeviceObject, Irp, NULL, StartIoCancel);

    return STATUS_PENDING;
}

/* An IRP that StartIo has is left alone: its device will be done with it soon. */
VOID StartIoCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    BOOLEAN removed = FALSE;

    if (Irp != DeviceObject->CurrentIrp) {
        removed = KeRemoveEntryDeviceQueue(&DeviceObject->DeviceQueue, &Irp->Tail.Overlay.DeviceQueueEntry);
    }

    IoReleaseCancelSpinLock(Irp->CancelIrql);

    if (removed) {
        StartIoComplete(Irp, STATUS_CANCELLED, 0);
    }
}

VOID StartIoStart(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSTARTIO_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location;
    BOOLEAN cancelled;
    KIRQL irql;

    IoAcquireCancelSpinLock(&irql);

    if (Irp != DeviceObject->CurrentIrp) {
        IoReleaseCancelSpinLock(irql);
        return;
    }

    IoSetCancelRoutine(Irp, NULL);
    cancelled = Irp->Cancel;
    IoReleaseCancelSpinLock(irql);

    if (cancelled) {
        IoStartNextPacket(DeviceObject, TRUE);
        StartIoComplete(Irp, STATUS_CANCELLED, 0);
        return;
    }

    location = IoGetCurrentIrpStackLocation(Irp);
    extension->Buffer = Irp->AssociatedIrp.SystemBuffer;
    extension->Block = (ULONG)(location->Parameters.Read.ByteOffset.QuadPart / STARTIO_BLOCK_SIZE);
    extension->BlocksLeft = location->Parameters.Read.Length / STARTIO_BLOCK_SIZE;
    KeSynchronizeExecution(extension->Interrupt, StartIoProgram, extension);
}

/* At the interrupt's IRQL, holding its spin lock. */
BOOLEAN StartIoProgram(PVOID SynchronizeContext)
{
    PSTARTIO_EXTENSION extension = SynchronizeContext;
    BOOLEAN write = IoGetCurrentIrpStackLocation(extension->DeviceObject->CurrentIrp)->MajorFunction == IRP_MJ_WRITE;

    WRITE_REGISTER_ULONG(&extension->Registers->Block, extension->Block);

    if (write) {
        WRITE_PORT_BUFFER_USHORT((PUSHORT)STARTIO_DATA_PORT, (PUSHORT)extension->Buffer, STARTIO_BLOCK_SIZE / sizeof(USHORT));
    }

    WRITE_REGISTER_ULONG(&extension->Registers->Command, write ? STARTIO_COMMAND_WRITE : STARTIO_COMMAND_READ);

    return TRUE;
}

BOOLEAN StartIoInterrupt(PKINTERRUPT Interrupt, PVOID ServiceContext)
{
    PSTARTIO_EXTENSION extension = ServiceContext;
    ULONG status = READ_REGISTER_ULONG(&extension->Registers->Status);

    UNREFERENCED_PARAMETER(Interrupt);

    if ((status & STARTIO_STATUS_DONE) == 0) {
        return FALSE;
    }

    WRITE_REGISTER_ULONG(&extension->Registers->Status, STARTIO_STATUS_DONE);
    extension->Status = status;
    IoRequestDpc(extension->DeviceObject, extension->DeviceObject->CurrentIrp, NULL);

    return TRUE;
}

VOID StartIoDpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PSTARTIO_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG transferred;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);

    /* The device is quiet until it gets the next command: nothing changes Status meanwhile. */
    if ((extension->Status & STARTIO_STATUS_FAILED) == 0) {
        if (location->MajorFunction == IRP_MJ_READ) {
            READ_PORT_BUFFER_USHORT((PUSHORT)STARTIO_DATA_PORT, (PUSHORT)extension->Buffer, STARTIO_BLOCK_SIZE / sizeof(USHORT));
        }

        extension->Buffer += STARTIO_BLOCK_SIZE;
        extension->Block++;

        if (--extension->BlocksLeft > 0) {
            KeSynchronizeExecution(extension->Interrupt, StartIoProgram, extension);
            return;
        }
    }

    transferred = location->Parameters.Read.Length - extension->BlocksLeft * STARTIO_BLOCK_SIZE;
    Irp->IoStatus.Status = (extension->Status & STARTIO_STATUS_FAILED) == 0 ? STATUS_SUCCESS : STATUS_IO_DEVICE_ERROR;

    IoStartNextPacket(DeviceObject, TRUE);
    StartIoComplete(Irp, Irp->IoStatus.Status, transferred);
}

static NTSTATUS StartIoComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}
