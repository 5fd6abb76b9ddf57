/*
 * pnpbus.c: a bus driver: function driver of a bus without hardware, and bus driver of the devices on it.
 *
 * IOCTL_PNPBUS_PLUG (0x002AE000) puts a device on the bus, IOCTL_PNPBUS_UNPLUG (0x002AE004) pulls it out; the input is its serial number
 * (32 bits). The device's id is PNPBUS\Child, its instance id the serial number in eight hexadecimal digits.
 *
 * Patterns:
 *   reporting children, and telling the PnP manager that they have changed
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/irp-mn-query-device-relations
 *   a child's PDO lives until it is neither on the bus nor known to the PnP manager
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-a-device-in-a-bus-driver
 *   a bus driver completes what is sent to a child, and leaves the status of what it does not know
 *     https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-pnp-irps-down-the-device-stack
 */
#include "wdk.h"

#define BUS_TAG 'suBP'
#define IOCTL_PNPBUS_PLUG CTL_CODE(FILE_DEVICE_BUS_EXTENDER, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
#define IOCTL_PNPBUS_UNPLUG CTL_CODE(FILE_DEVICE_BUS_EXTENDER, 0x801, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)

/* What the extensions of the bus and of its children begin with. */
typedef struct _BUS_COMMON {
    BOOLEAN IsChild;
    PDEVICE_OBJECT Self;
} BUS_COMMON, *PBUS_COMMON;

typedef struct _BUS_EXTENSION {
    BUS_COMMON Common;
    PDEVICE_OBJECT LowerDevice;
    PDEVICE_OBJECT PhysicalDevice;
    IO_REMOVE_LOCK RemoveLock;
    volatile LONG Started;
    KMUTEX Lock;
    LIST_ENTRY Children;
    ULONG ChildCount;
} BUS_EXTENSION, *PBUS_EXTENSION;

/* A child's members are guarded by the lock of its bus. */
typedef struct _CHILD_EXTENSION {
    BUS_COMMON Common;
    PBUS_EXTENSION Bus;
    LIST_ENTRY Entry;
    ULONG SerialNumber;
    BOOLEAN Present;
    BOOLEAN Reported;
} CHILD_EXTENSION, *PCHILD_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE BusAddDevice;
DRIVER_UNLOAD BusUnload;
DRIVER_DISPATCH BusDispatchCreateClose;
DRIVER_DISPATCH BusDispatchDeviceControl;
DRIVER_DISPATCH BusDispatchPnp;
DRIVER_DISPATCH BusDispatchPower;
DRIVER_DISPATCH BusDispatchSystemControl;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    DriverObject->MajorFunction[IRP_MJ_CREATE] = BusDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = BusDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = BusDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = BusDispatchDeviceControl;
    DriverObject->MajorFunction[IRP_MJ_PNP] = BusDispatchPnp;
    DriverObject->MajorFunction[IRP_MJ_POWER] = BusDispatchPower;
    DriverObject->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = BusDispatchSystemControl;
    DriverObject->DriverExtension->AddDevice = BusAddDevice;
    DriverObject->DriverUnload = BusUnload;

    return STATUS_SUCCESS;
}

NTSTATUS BusAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PBUS_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(
        DriverObject, sizeof(BUS_EXTENSION), NULL, FILE_DEVICE_BUS_EXTENDER, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    extension->Common.Self = deviceObject;
    extension->PhysicalDevice = PhysicalDeviceObject;
    IoInitializeRemoveLock(&extension->RemoveLock, BUS_TAG, 0, 0);
    KeInitializeMutex(&extension->Lock, 0);
    InitializeListHead(&extension->Children);

    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    deviceObject->Flags |= DO_BUFFERED_IO | DO_POWER_PAGABLE;
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID BusUnload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

static NTSTATUS BusComplete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

static VOID BusLock(PBUS_EXTENSION Bus)
{
    KeWaitForSingleObject(&Bus->Lock, Executive, KernelMode, FALSE, NULL);
}

static VOID BusUnlock(PBUS_EXTENSION Bus)
{
    KeReleaseMutex(&Bus->Lock, FALSE);
}

NTSTATUS BusDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    Irp->IoStatus.Information = 0;

    return BusComplete(Irp, STATUS_SUCCESS);
}

/* ---- Plugging and unplugging */

/* The child with a serial number that is on the bus. */
static PCHILD_EXTENSION BusFindChild(PBUS_EXTENSION Bus, ULONG SerialNumber)
{
    PLIST_ENTRY entry;

    for (entry = Bus->Children.Flink; entry != &Bus->Children; entry = entry->Flink) {
        PCHILD_EXTENSION child = CONTAINING_RECORD(entry, CHILD_EXTENSION, Entry);

        if (child->SerialNumber == SerialNumber && child->Present) {
            return child;
        }
    }

    return NULL;
}

static NTSTATUS BusPlug(PBUS_EXTENSION Bus, ULONG SerialNumber)
{
    PDEVICE_OBJECT deviceObject;
    PCHILD_EXTENSION child;
    NTSTATUS status;

    if (BusFindChild(Bus, SerialNumber) != NULL) {
        return STATUS_OBJECT_NAME_COLLISION;
    }

    status = IoCreateDevice(Bus->Common.Self->DriverObject, sizeof(CHILD_EXTENSION), NULL, FILE_DEVICE_UNKNOWN,
        FILE_AUTOGENERATED_DEVICE_NAME | FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    child = deviceObject->DeviceExtension;
    child->Common.IsChild = TRUE;
    child->Common.Self = deviceObject;
    child->Bus = Bus;
    child->SerialNumber = SerialNumber;
    child->Present = TRUE;
    InsertTailList(&Bus->Children, &child->Entry);
    Bus->ChildCount++;

    deviceObject->Flags |= DO_POWER_PAGABLE;
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

static NTSTATUS BusUnplug(PBUS_EXTENSION Bus, ULONG SerialNumber)
{
    PCHILD_EXTENSION child = BusFindChild(Bus, SerialNumber);

    if (child == NULL) {
        return STATUS_NO_SUCH_DEVICE;
    }

    child->Present = FALSE;

    return STATUS_SUCCESS;
}

NTSTATUS BusDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBUS_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG code = stack->Parameters.DeviceIoControl.IoControlCode;
    NTSTATUS status;

    Irp->IoStatus.Information = 0;

    if (extension->Common.IsChild) {
        return BusComplete(Irp, STATUS_INVALID_DEVICE_REQUEST);
    }

    status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return BusComplete(Irp, status);
    }

    if (code != IOCTL_PNPBUS_PLUG && code != IOCTL_PNPBUS_UNPLUG) {
        status = STATUS_INVALID_DEVICE_REQUEST;
    } else if (!extension->Started) {
        status = STATUS_DEVICE_NOT_READY;
    } else if (stack->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG)) {
        status = STATUS_BUFFER_TOO_SMALL;
    } else {
        ULONG serialNumber = *(PULONG)Irp->AssociatedIrp.SystemBuffer;

        BusLock(extension);
        status = code == IOCTL_PNPBUS_PLUG ? BusPlug(extension, serialNumber) : BusUnplug(extension, serialNumber);
        BusUnlock(extension);
    }

    if (NT_SUCCESS(status)) {
        IoInvalidateDeviceRelations(extension->PhysicalDevice, BusRelations);
    }

    BusComplete(Irp, status);
    IoReleaseRemoveLock(&extension->RemoveLock, Irp);

    return status;
}

/* ---- The bus as a device */

static NTSTATUS BusQueryRelations(PBUS_EXTENSION Bus, PIRP Irp)
{
    PDEVICE_RELATIONS relations;
    PLIST_ENTRY entry;

    BusLock(Bus);

    relations = ExAllocatePoolWithTag(PagedPool, sizeof(DEVICE_RELATIONS) + Bus->ChildCount * sizeof(PDEVICE_OBJECT), BUS_TAG);
    if (relations == NULL) {
        BusUnlock(Bus);
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    relations->Count = 0;
    for (entry = Bus->Children.Flink; entry != &Bus->Children; entry = entry->Flink) {
        PCHILD_EXTENSION child = CONTAINING_RECORD(entry, CHILD_EXTENSION, Entry);

        child->Reported = child->Present;
        if (child->Present) {
            ObReferenceObject(child->Common.Self);
            relations->Objects[relations->Count++] = child->Common.Self;
        }
    }

    BusUnlock(Bus);

    Irp->IoStatus.Information = (ULONG_PTR)relations;

    return STATUS_SUCCESS;
}

static VOID BusDeleteChild(PCHILD_EXTENSION Child)
{
    RemoveEntryList(&Child->Entry);
    Child->Bus->ChildCount--;
    IoDeleteDevice(Child->Common.Self);
}

static NTSTATUS BusRemove(PBUS_EXTENSION Bus, PIRP Irp)
{
    NTSTATUS status;

    Bus->Started = FALSE;
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Bus->LowerDevice, Irp);

    IoReleaseRemoveLockAndWait(&Bus->RemoveLock, Irp);

    /* The children have been removed before; nobody but this driver knows them any more. */
    while (!IsListEmpty(&Bus->Children)) {
        BusDeleteChild(CONTAINING_RECORD(Bus->Children.Flink, CHILD_EXTENSION, Entry));
    }

    IoDetachDevice(Bus->LowerDevice);
    IoDeleteDevice(Bus->Common.Self);

    return status;
}

static NTSTATUS BusDispatchBusPnp(PBUS_EXTENSION Bus, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status;

    status = IoAcquireRemoveLock(&Bus->RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return BusComplete(Irp, status);
    }

    switch (stack->MinorFunction) {
    case IRP_MN_START_DEVICE:
        status = IoForwardIrpSynchronously(Bus->LowerDevice, Irp) ? Irp->IoStatus.Status : STATUS_UNSUCCESSFUL;
        if (NT_SUCCESS(status)) {
            POWER_STATE powerState;

            powerState.DeviceState = PowerDeviceD0;
            PoSetPowerState(Bus->Common.Self, DevicePowerState, powerState);
            Bus->Started = TRUE;
        }
        BusComplete(Irp, status);
        IoReleaseRemoveLock(&Bus->RemoveLock, Irp);
        return status;

    case IRP_MN_QUERY_DEVICE_RELATIONS:
        if (stack->Parameters.QueryDeviceRelations.Type != BusRelations) {
            break;
        }
        status = BusQueryRelations(Bus, Irp);
        if (!NT_SUCCESS(status)) {
            BusComplete(Irp, status);
            IoReleaseRemoveLock(&Bus->RemoveLock, Irp);
            return status;
        }
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_STOP_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
        Bus->Started = FALSE;
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_QUERY_STOP_DEVICE:
    case IRP_MN_CANCEL_STOP_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;

    case IRP_MN_REMOVE_DEVICE:
        return BusRemove(Bus, Irp);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Bus->LowerDevice, Irp);
    IoReleaseRemoveLock(&Bus->RemoveLock, Irp);

    return status;
}

/* ---- The children */

/* A copy of a text in paged pool, with a second terminating null; NULL without memory. */
static PWCHAR ChildText(PCWSTR Text, SIZE_T Size)
{
    PWCHAR copy = ExAllocatePoolWithTag(PagedPool, Size + sizeof(WCHAR), BUS_TAG);

    if (copy != NULL) {
        RtlCopyMemory(copy, Text, Size);
        copy[Size / sizeof(WCHAR)] = L'\0';
    }

    return copy;
}

static NTSTATUS ChildAnswer(PIRP Irp, PWCHAR Text)
{
    Irp->IoStatus.Information = (ULONG_PTR)Text;

    return Text == NULL ? STATUS_INSUFFICIENT_RESOURCES : STATUS_SUCCESS;
}

static NTSTATUS ChildQueryId(PCHILD_EXTENSION Child, PIRP Irp)
{
    static const WCHAR deviceId[] = L"PNPBUS\\Child";
    WCHAR instanceId[9];
    ULONG digit;

    switch (IoGetCurrentIrpStackLocation(Irp)->Parameters.QueryId.IdType) {
    case BusQueryDeviceID:
    case BusQueryHardwareIDs:
        return ChildAnswer(Irp, ChildText(deviceId, sizeof(deviceId)));

    case BusQueryInstanceID:
        for (digit = 0; digit < 8; digit++) {
            instanceId[digit] = L"0123456789ABCDEF"[Child->SerialNumber >> (28 - 4 * digit) & 0xF];
        }
        instanceId[8] = L'\0';
        return ChildAnswer(Irp, ChildText(instanceId, sizeof(instanceId)));

    default:
        return Irp->IoStatus.Status;
    }
}

static NTSTATUS ChildQueryText(PIRP Irp)
{
    static const WCHAR description[] = L"A device on the sample bus";

    if (IoGetCurrentIrpStackLocation(Irp)->Parameters.QueryDeviceText.DeviceTextType != DeviceTextDescription) {
        return Irp->IoStatus.Status;
    }

    return ChildAnswer(Irp, ChildText(description, sizeof(description)));
}

static NTSTATUS ChildQueryCapabilities(PIRP Irp)
{
    PDEVICE_CAPABILITIES capabilities = IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceCapabilities.Capabilities;
    ULONG state;

    if (capabilities->Version != 1 || capabilities->Size < sizeof(DEVICE_CAPABILITIES)) {
        return STATUS_UNSUCCESSFUL;
    }

    capabilities->Removable = TRUE;
    capabilities->SurpriseRemovalOK = TRUE;
    capabilities->DeviceState[PowerSystemWorking] = PowerDeviceD0;
    for (state = PowerSystemSleeping1; state < PowerSystemMaximum; state++) {
        capabilities->DeviceState[state] = PowerDeviceD3;
    }

    return STATUS_SUCCESS;
}

static NTSTATUS BusDispatchChildPnp(PCHILD_EXTENSION Child, PIRP Irp)
{
    PBUS_EXTENSION bus = Child->Bus;
    NTSTATUS status = Irp->IoStatus.Status;
    BOOLEAN gone;

    switch (IoGetCurrentIrpStackLocation(Irp)->MinorFunction) {
    case IRP_MN_QUERY_ID:
        status = ChildQueryId(Child, Irp);
        break;

    case IRP_MN_QUERY_DEVICE_TEXT:
        status = ChildQueryText(Irp);
        break;

    case IRP_MN_QUERY_CAPABILITIES:
        status = ChildQueryCapabilities(Irp);
        break;

    case IRP_MN_START_DEVICE:
    case IRP_MN_QUERY_STOP_DEVICE:
    case IRP_MN_CANCEL_STOP_DEVICE:
    case IRP_MN_STOP_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
        status = STATUS_SUCCESS;
        break;

    case IRP_MN_REMOVE_DEVICE:
        /* A child that is still on the bus keeps its PDO: its drivers may come back. */
        BusLock(bus);
        gone = !Child->Present && !Child->Reported;
        BusUnlock(bus);

        /* Without the lock: completion routines of the drivers above run now. */
        BusComplete(Irp, STATUS_SUCCESS);

        if (gone) {
            BusLock(bus);
            BusDeleteChild(Child);
            BusUnlock(bus);
        }
        return STATUS_SUCCESS;
    }

    return BusComplete(Irp, status);
}

/* ---- What goes to the bus or to a child */

NTSTATUS BusDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBUS_COMMON common = DeviceObject->DeviceExtension;

    return common->IsChild ? BusDispatchChildPnp((PCHILD_EXTENSION)common, Irp) : BusDispatchBusPnp((PBUS_EXTENSION)common, Irp);
}

static NTSTATUS BusPassDown(PBUS_EXTENSION Bus, PIRP Irp)
{
    NTSTATUS status = IoAcquireRemoveLock(&Bus->RemoveLock, Irp);

    if (!NT_SUCCESS(status)) {
        return BusComplete(Irp, status);
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Bus->LowerDevice, Irp);
    IoReleaseRemoveLock(&Bus->RemoveLock, Irp);

    return status;
}

NTSTATUS BusDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBUS_COMMON common = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN isState = stack->MinorFunction == IRP_MN_SET_POWER || stack->MinorFunction == IRP_MN_QUERY_POWER;

    if (stack->MinorFunction == IRP_MN_SET_POWER && stack->Parameters.Power.Type == DevicePowerState) {
        PoSetPowerState(DeviceObject, DevicePowerState, stack->Parameters.Power.State);
    }

    if (common->IsChild) {
        return BusComplete(Irp, isState ? STATUS_SUCCESS : Irp->IoStatus.Status);
    }

    return BusPassDown((PBUS_EXTENSION)common, Irp);
}

NTSTATUS BusDispatchSystemControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PBUS_COMMON common = DeviceObject->DeviceExtension;

    if (common->IsChild) {
        return BusComplete(Irp, Irp->IoStatus.Status);
    }

    return BusPassDown((PBUS_EXTENSION)common, Irp);
}
