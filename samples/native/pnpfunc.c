/*
 * pnpfunc.c: the function driver of a Plug and Play device, and its power policy owner.
 *
 * The device is a 4 KiB store. READ and WRITE work while it is started and in D0. IOCTL_PNPFUNC_WAIT (0x0022E000, no data) waits in a
 * cancel-safe queue until IOCTL_PNPFUNC_WAKE (0x0022E004) completes all that wait, until it is cancelled, or until the device goes away.
 *
 * Patterns:
 *   START_DEVICE and QUERY_CAPABILITIES on the way up, REMOVE_DEVICE on the way down
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/postponing-pnp-irp-processing-until-lower-drivers-finish
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-a-device-in-a-function-driver
 *   a remove lock around everything that outlives a dispatch routine
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks
 *   a device power request for each system power request
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-a-system-set-power-irp-in-a-device-power-policy-owner
 *   power down on the way down, power up on the way up
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-power-irps
 */
#include "wdk.h"
#include <csq.h>

#define FUNC_TAG 'cnuF'
#define FUNC_STORE_SIZE 0x1000
#define IOCTL_PNPFUNC_WAIT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
#define IOCTL_PNPFUNC_WAKE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)

/* {5b6c3a52-2d3e-4c7b-9a0e-1f0d2c3b4a59} */
static const GUID FUNC_INTERFACE = { 0x5b6c3a52, 0x2d3e, 0x4c7b, { 0x9a, 0x0e, 0x1f, 0x0d, 0x2c, 0x3b, 0x4a, 0x59 } };

typedef enum _FUNC_STATE {
    FuncAdded,
    FuncStarted,
    FuncStopped,
    FuncRemovePending,
    FuncSurpriseRemoved
} FUNC_STATE;

typedef struct _FUNC_EXTENSION {
    PDEVICE_OBJECT Self;
    PDEVICE_OBJECT LowerDevice;
    PDEVICE_OBJECT PhysicalDevice;
    IO_REMOVE_LOCK RemoveLock;
    volatile LONG State;
    volatile LONG PowerState;
    DEVICE_POWER_STATE SleepState[PowerSystemMaximum];
    UNICODE_STRING Interface;
    BOOLEAN InterfaceEnabled;
    IO_CSQ Waiting;
    LIST_ENTRY WaitingList;
    KSPIN_LOCK WaitingLock;
    PUCHAR Store;
} FUNC_EXTENSION, *PFUNC_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE FuncAddDevice;
DRIVER_UNLOAD FuncUnload;
DRIVER_DISPATCH FuncDispatchCreateClose;
DRIVER_DISPATCH FuncDispatchReadWrite;
DRIVER_DISPATCH FuncDispatchDeviceControl;
DRIVER_DISPATCH FuncDispatchCleanup;
DRIVER_DISPATCH FuncDispatchPnp;
DRIVER_DISPATCH FuncDispatchPower;
DRIVER_DISPATCH FuncDispatchSystemControl;
IO_COMPLETION_ROUTINE FuncSystemPowerDone;
IO_COMPLETION_ROUTINE FuncPowerUpDone;
REQUEST_POWER_COMPLETE FuncDevicePowerDone;

/* The headers of mingw-w64 have no role types for these. */
VOID NTAPI FuncInsertIrp(PIO_CSQ Csq, PIRP Irp);
VOID NTAPI FuncRemoveIrp(PIO_CSQ Csq, PIRP Irp);
PIRP NTAPI FuncPeekNextIrp(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext);
VOID NTAPI FuncAcquireLock(PIO_CSQ Csq, PKIRQL Irql);
VOID NTAPI FuncReleaseLock(PIO_CSQ Csq, KIRQL Irql);
VOID NTAPI FuncCompleteCanceledIrp(PIO_CSQ Csq, PIRP Irp);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    DriverObject->MajorFunction[IRP_MJ_CREATE] = FuncDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = FuncDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = FuncDispatchCleanup;
    DriverObject->MajorFunction[IRP_MJ_READ] = FuncDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = FuncDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = FuncDispatchDeviceControl;
    DriverObject->MajorFunction[IRP_MJ_PNP] = FuncDispatchPnp;
    DriverObject->MajorFunction[IRP_MJ_POWER] = FuncDispatchPower;
    DriverObject->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = FuncDispatchSystemControl;
    DriverObject->DriverExtension->AddDevice = FuncAddDevice;
    DriverObject->DriverUnload = FuncUnload;

    return STATUS_SUCCESS;
}

NTSTATUS FuncAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PFUNC_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(DriverObject, sizeof(FUNC_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    extension->Self = deviceObject;
    extension->PhysicalDevice = PhysicalDeviceObject;
    extension->PowerState = PowerDeviceD3;
    IoInitializeRemoveLock(&extension->RemoveLock, FUNC_TAG, 0, 0);
    InitializeListHead(&extension->WaitingList);
    KeInitializeSpinLock(&extension->WaitingLock);
    IoCsqInitialize(&extension->Waiting, FuncInsertIrp, FuncRemoveIrp, FuncPeekNextIrp, FuncAcquireLock, FuncReleaseLock,
        FuncCompleteCanceledIrp);

    extension->Store = ExAllocatePoolZero(NonPagedPoolNx, FUNC_STORE_SIZE, FUNC_TAG);
    if (extension->Store == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = IoRegisterDeviceInterface(PhysicalDeviceObject, &FUNC_INTERFACE, NULL, &extension->Interface);
    if (!NT_SUCCESS(status)) {
        ExFreePoolWithTag(extension->Store, FUNC_TAG);
        IoDeleteDevice(deviceObject);
        return status;
    }

    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        RtlFreeUnicodeString(&extension->Interface);
        ExFreePoolWithTag(extension->Store, FUNC_TAG);
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    deviceObject->Flags |= DO_BUFFERED_IO | (extension->LowerDevice->Flags & DO_POWER_PAGABLE);
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID FuncUnload(PDRIVER_OBJECT DriverObject)
{
    /* REMOVE_DEVICE has deleted every device by now, and DriverEntry acquired nothing. */
    UNREFERENCED_PARAMETER(DriverObject);
}

static NTSTATUS FuncComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

/* What the device answers to a request that it cannot carry out now; STATUS_SUCCESS if it can. */
static NTSTATUS FuncCheckState(PFUNC_EXTENSION Extension)
{
    switch (Extension->State) {
    case FuncStarted:
    case FuncRemovePending:
        return Extension->PowerState == PowerDeviceD0 ? STATUS_SUCCESS : STATUS_DEVICE_POWERED_OFF;
    case FuncSurpriseRemoved:
        return STATUS_DEVICE_REMOVED;
    default:
        return STATUS_DEVICE_NOT_READY;
    }
}

NTSTATUS FuncDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    BOOLEAN refused = IoGetCurrentIrpStackLocation(Irp)->MajorFunction == IRP_MJ_CREATE && extension->State != FuncStarted;

    return FuncComplete(Irp, refused ? STATUS_NO_SUCH_DEVICE : STATUS_SUCCESS, 0);
}

NTSTATUS FuncDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    LONGLONG offset = stack->Parameters.Read.ByteOffset.QuadPart;
    ULONG length = stack->Parameters.Read.Length;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FuncComplete(Irp, status, 0);
    }

    status = FuncCheckState(extension);
    if (NT_SUCCESS(status) && (offset < 0 || offset > FUNC_STORE_SIZE || length > FUNC_STORE_SIZE - offset)) {
        status = STATUS_INVALID_PARAMETER;
    }

    if (NT_SUCCESS(status) && length > 0) {
        if (stack->MajorFunction == IRP_MJ_READ) {
            RtlCopyMemory(Irp->AssociatedIrp.SystemBuffer, extension->Store + offset, length);
        } else {
            RtlCopyMemory(extension->Store + offset, Irp->AssociatedIrp.SystemBuffer, length);
        }
    }

    status = FuncComplete(Irp, status, NT_SUCCESS(status) ? length : 0);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

/* Completes every request that waits. Each holds the remove lock. */
static VOID FuncEmptyQueue(PFUNC_EXTENSION Extension, PFILE_OBJECT FileObject, NTSTATUS Status)
{
    PIRP irp;

    while ((irp = IoCsqRemoveNextIrp(&Extension->Waiting, FileObject)) != NULL) {
        FuncComplete(irp, Status, 0);
        IoReleaseRemoveLock(&Extension->RemoveLock, irp);
    }
}

NTSTATUS FuncDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    ULONG code = IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.IoControlCode;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FuncComplete(Irp, status, 0);
    }

    status = FuncCheckState(extension);
    if (NT_SUCCESS(status) && code == IOCTL_PNPFUNC_WAIT) {
        /* Held twice: by the request, until it leaves the queue, and by this routine, which uses the device after that may have happened. */
        status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    }

    if (NT_SUCCESS(status) && code == IOCTL_PNPFUNC_WAIT) {
        IoCsqInsertIrp(&extension->Waiting, Irp, NULL);

        /* The device may have gone while the request was on its way into the queue. */
        if (extension->State == FuncSurpriseRemoved) {
            FuncEmptyQueue(extension, NULL, STATUS_DEVICE_REMOVED);
        }

        IoReleaseRemoveLock(&extension->RemoveLock, Irp);

        return STATUS_PENDING;
    }

    if (NT_SUCCESS(status) && code == IOCTL_PNPFUNC_WAKE) {
        FuncEmptyQueue(extension, NULL, STATUS_SUCCESS);
    } else if (NT_SUCCESS(status)) {
        status = STATUS_INVALID_DEVICE_REQUEST;
    }

    status = FuncComplete(Irp, status, 0);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

NTSTATUS FuncDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    FuncEmptyQueue(DeviceObject->DeviceExtension, IoGetCurrentIrpStackLocation(Irp)->FileObject, STATUS_CANCELLED);

    return FuncComplete(Irp, STATUS_SUCCESS, 0);
}

/* ---- The queue of waiting requests */

VOID FuncInsertIrp(PIO_CSQ Csq, PIRP Irp)
{
    InsertTailList(&CONTAINING_RECORD(Csq, FUNC_EXTENSION, Waiting)->WaitingList, &Irp->Tail.Overlay.ListEntry);
}

VOID FuncRemoveIrp(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);

    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

PIRP FuncPeekNextIrp(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
{
    PLIST_ENTRY head = &CONTAINING_RECORD(Csq, FUNC_EXTENSION, Waiting)->WaitingList;
    PLIST_ENTRY entry = Irp == NULL ? head->Flink : Irp->Tail.Overlay.ListEntry.Flink;

    for (; entry != head; entry = entry->Flink) {
        PIRP next = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);

        /* The context is the file whose requests are wanted, or NULL for all. */
        if (PeekContext == NULL || IoGetCurrentIrpStackLocation(next)->FileObject == PeekContext) {
            return next;
        }
    }

    return NULL;
}

VOID FuncAcquireLock(PIO_CSQ Csq, PKIRQL Irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, FUNC_EXTENSION, Waiting)->WaitingLock, Irql);
}

VOID FuncReleaseLock(PIO_CSQ Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, FUNC_EXTENSION, Waiting)->WaitingLock, Irql);
}

VOID FuncCompleteCanceledIrp(PIO_CSQ Csq, PIRP Irp)
{
    PFUNC_EXTENSION extension = CONTAINING_RECORD(Csq, FUNC_EXTENSION, Waiting);

    FuncComplete(Irp, STATUS_CANCELLED, 0);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);
}

/* ---- Plug and Play */

static VOID FuncDisableInterface(PFUNC_EXTENSION Extension)
{
    if (Extension->InterfaceEnabled) {
        Extension->InterfaceEnabled = FALSE;
        IoSetDeviceInterfaceState(&Extension->Interface, FALSE);
    }
}

static NTSTATUS FuncStart(PFUNC_EXTENSION Extension, PIRP Irp)
{
    POWER_STATE powerState;
    NTSTATUS status;

    if (!IoForwardIrpSynchronously(Extension->LowerDevice, Irp)) {
        return STATUS_UNSUCCESSFUL;
    }

    status = Irp->IoStatus.Status;
    if (!NT_SUCCESS(status)) {
        return status;
    }

    powerState.DeviceState = PowerDeviceD0;
    PoSetPowerState(Extension->Self, DevicePowerState, powerState);
    Extension->PowerState = PowerDeviceD0;
    Extension->State = FuncStarted;
    if (!Extension->InterfaceEnabled) {
        Extension->InterfaceEnabled = NT_SUCCESS(IoSetDeviceInterfaceState(&Extension->Interface, TRUE));
    }

    return status;
}

static NTSTATUS FuncQueryCapabilities(PFUNC_EXTENSION Extension, PIRP Irp)
{
    PDEVICE_CAPABILITIES capabilities = IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceCapabilities.Capabilities;

    if (!IoForwardIrpSynchronously(Extension->LowerDevice, Irp)) {
        return STATUS_UNSUCCESSFUL;
    }

    if (NT_SUCCESS(Irp->IoStatus.Status) && capabilities->Version == 1 && capabilities->Size >= sizeof(DEVICE_CAPABILITIES)) {
        RtlCopyMemory(Extension->SleepState, capabilities->DeviceState, sizeof(Extension->SleepState));
    }

    return Irp->IoStatus.Status;
}

static NTSTATUS FuncRemove(PFUNC_EXTENSION Extension, PIRP Irp)
{
    NTSTATUS status;

    Extension->State = FuncSurpriseRemoved;
    FuncDisableInterface(Extension);
    FuncEmptyQueue(Extension, NULL, STATUS_DEVICE_REMOVED);

    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Extension->LowerDevice, Irp);

    IoReleaseRemoveLockAndWait(&Extension->RemoveLock, Irp);
    IoDetachDevice(Extension->LowerDevice);
    RtlFreeUnicodeString(&Extension->Interface);
    ExFreePoolWithTag(Extension->Store, FUNC_TAG);
    IoDeleteDevice(Extension->Self);

    return status;
}

NTSTATUS FuncDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FuncComplete(Irp, status, 0);
    }

    switch (IoGetCurrentIrpStackLocation(Irp)->MinorFunction) {
    case IRP_MN_START_DEVICE:
        status = FuncComplete(Irp, FuncStart(extension, Irp), 0);
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return status;

    case IRP_MN_QUERY_CAPABILITIES:
        status = FuncComplete(Irp, FuncQueryCapabilities(extension, Irp), 0);
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return status;

    case IRP_MN_QUERY_STOP_DEVICE:
        /* A wait could last for ever, and the device is not there for it while it is stopped. */
        if (!IsListEmpty(&extension->WaitingList)) {
            status = FuncComplete(Irp, STATUS_DEVICE_BUSY, 0);
            IoReleaseRemoveLock(&extension->RemoveLock, Irp);
            return status;
        }
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_STOP_DEVICE:
        extension->State = FuncStopped;
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_QUERY_REMOVE_DEVICE:
        extension->State = FuncRemovePending;
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_CANCEL_REMOVE_DEVICE:
        if (extension->State == FuncRemovePending) {
            extension->State = FuncStarted;
        }
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_CANCEL_STOP_DEVICE:
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_SURPRISE_REMOVAL:
        extension->State = FuncSurpriseRemoved;
        FuncDisableInterface(extension);
        FuncEmptyQueue(extension, NULL, STATUS_DEVICE_REMOVED);
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_REMOVE_DEVICE:
        return FuncRemove(extension, Irp);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

/* ---- Power */

NTSTATUS FuncDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN isState = stack->MinorFunction == IRP_MN_SET_POWER || stack->MinorFunction == IRP_MN_QUERY_POWER;
    BOOLEAN isPowerUp;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FuncComplete(Irp, status, 0);
    }

    /* The policy owner answers the system with a request for its device, once the drivers below have agreed. */
    if (isState && stack->Parameters.Power.Type == SystemPowerState) {
        IoMarkIrpPending(Irp);
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, FuncSystemPowerDone, NULL, TRUE, TRUE, TRUE);
        PoCallDriver(extension->LowerDevice, Irp);
        return STATUS_PENDING;
    }

    isPowerUp = stack->MinorFunction == IRP_MN_SET_POWER && stack->Parameters.Power.State.DeviceState == PowerDeviceD0;
    if (isPowerUp) {
        IoMarkIrpPending(Irp);
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, FuncPowerUpDone, NULL, TRUE, TRUE, TRUE);
        PoCallDriver(extension->LowerDevice, Irp);
        return STATUS_PENDING;
    }

    if (stack->MinorFunction == IRP_MN_SET_POWER) {
        PoSetPowerState(DeviceObject, DevicePowerState, stack->Parameters.Power.State);
        extension->PowerState = stack->Parameters.Power.State.DeviceState;
    }

    if (isState) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = PoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

/* A system power request has been through the drivers below. */
NTSTATUS FuncSystemPowerDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    SYSTEM_POWER_STATE systemState = stack->Parameters.Power.State.SystemState;
    POWER_STATE deviceState;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(Context);

    if (!NT_SUCCESS(Irp->IoStatus.Status)) {
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return STATUS_CONTINUE_COMPLETION;
    }

    deviceState.DeviceState = systemState == PowerSystemWorking ? PowerDeviceD0 : extension->SleepState[systemState];
    if (deviceState.DeviceState == PowerDeviceUnspecified) {
        deviceState.DeviceState = PowerDeviceD3;
    }

    status = PoRequestPowerIrp(DeviceObject, stack->MinorFunction, deviceState, FuncDevicePowerDone, Irp, NULL);
    if (!NT_SUCCESS(status)) {
        Irp->IoStatus.Status = status;
        IoReleaseRemoveLock(&extension->RemoveLock, Irp);
        return STATUS_CONTINUE_COMPLETION;
    }

    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* The device has followed: the system's request is over. */
VOID FuncDevicePowerDone(PDEVICE_OBJECT DeviceObject, UCHAR MinorFunction, POWER_STATE PowerState, PVOID Context, PIO_STATUS_BLOCK IoStatus)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    PIRP systemIrp = Context;

    UNREFERENCED_PARAMETER(MinorFunction);
    UNREFERENCED_PARAMETER(PowerState);

    FuncComplete(systemIrp, IoStatus->Status, 0);
    IoReleaseRemoveLock(&extension->RemoveLock, systemIrp);
}

/* The drivers below have powered the device up. */
NTSTATUS FuncPowerUpDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;

    UNREFERENCED_PARAMETER(Context);

    if (NT_SUCCESS(Irp->IoStatus.Status)) {
        PoSetPowerState(DeviceObject, DevicePowerState, IoGetCurrentIrpStackLocation(Irp)->Parameters.Power.State);
        extension->PowerState = PowerDeviceD0;
    }

    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS FuncDispatchSystemControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFUNC_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return FuncComplete(Irp, status, 0);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}
