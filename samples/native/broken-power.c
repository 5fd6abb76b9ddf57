/*
 * broken-power.c: completes a power IRP instead of passing it down.
 *
 * The filter keeps the power state of its device in mind, and refuses reads and writes while the device sleeps. It notes the new state of a
 * device set-power request, reports it, and completes the request: "handled". The drivers below, which would switch the device off, never
 * see it. Queries and system requests are passed down.
 *
 * On Windows: the device stays on and drains the battery, or is lost after a wake-up; with Driver Verifier bug check 0xC9, parameter
 * 1 = 0x231.
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-power-irps
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-irp-mn-set-power-for-device-power-states
 */
#include "upper.h"

typedef struct _POWER_EXTENSION {
    UPPER_EXTENSION Upper;
    volatile LONG Asleep;
} POWER_EXTENSION, *PPOWER_EXTENSION;

DRIVER_ADD_DEVICE BrokenPowerAddDevice;
DRIVER_DISPATCH BrokenPowerDispatchReadWrite;
DRIVER_DISPATCH BrokenPowerDispatchPower;
IO_COMPLETION_ROUTINE BrokenPowerUpDone;

static NTSTATUS BrokenPowerSetDevice(PDEVICE_OBJECT DeviceObject, PIRP Irp, POWER_STATE State);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    UpperInitialize(DriverObject, BrokenPowerAddDevice);
    DriverObject->MajorFunction[IRP_MJ_READ] = BrokenPowerDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_WRITE] = BrokenPowerDispatchReadWrite;
    DriverObject->MajorFunction[IRP_MJ_POWER] = BrokenPowerDispatchPower;

    return STATUS_SUCCESS;
}

NTSTATUS BrokenPowerAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    status = UpperCreate(DriverObject, sizeof(POWER_EXTENSION), &deviceObject);

    return NT_SUCCESS(status) ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
}

NTSTATUS BrokenPowerDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPOWER_EXTENSION extension = DeviceObject->DeviceExtension;

    return extension->Asleep ? UpperComplete(Irp, STATUS_DEVICE_POWERED_OFF, 0) : UpperDispatchPassDown(DeviceObject, Irp);
}

NTSTATUS BrokenPowerDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPOWER_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status;

    if (location->MinorFunction != IRP_MN_SET_POWER || location->Parameters.Power.Type != DevicePowerState) {
        return UpperDispatchPower(DeviceObject, Irp);
    }

    status = IoAcquireRemoveLock(&extension->Upper.RemoveLock, Irp);
    if (!NT_SUCCESS(status)) {
        return UpperComplete(Irp, status, 0);
    }

    return BrokenPowerSetDevice(DeviceObject, Irp, location->Parameters.Power.State);
}

#ifdef FIXED

/* On the way down the device is put to sleep before the drivers below do it, on the way up it wakes after them. */
static NTSTATUS BrokenPowerSetDevice(PDEVICE_OBJECT DeviceObject, PIRP Irp, POWER_STATE State)
{
    PPOWER_EXTENSION extension = DeviceObject->DeviceExtension;
    NTSTATUS status;

    if (State.DeviceState == PowerDeviceD0) {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, BrokenPowerUpDone, NULL, TRUE, TRUE, TRUE);
        return PoCallDriver(extension->Upper.LowerDevice, Irp);
    }

    InterlockedExchange(&extension->Asleep, TRUE);
    PoSetPowerState(DeviceObject, DevicePowerState, State);
    IoSkipCurrentIrpStackLocation(Irp);
    status = PoCallDriver(extension->Upper.LowerDevice, Irp);
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return status;
}

NTSTATUS BrokenPowerUpDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PPOWER_EXTENSION extension = DeviceObject->DeviceExtension;

    UNREFERENCED_PARAMETER(Context);

    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }

    if (NT_SUCCESS(Irp->IoStatus.Status)) {
        PoSetPowerState(DeviceObject, DevicePowerState, IoGetCurrentIrpStackLocation(Irp)->Parameters.Power.State);
        InterlockedExchange(&extension->Asleep, FALSE);
    }

    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return STATUS_CONTINUE_COMPLETION;
}

#else

static NTSTATUS BrokenPowerSetDevice(PDEVICE_OBJECT DeviceObject, PIRP Irp, POWER_STATE State)
{
    PPOWER_EXTENSION extension = DeviceObject->DeviceExtension;

    InterlockedExchange(&extension->Asleep, State.DeviceState != PowerDeviceD0);
    PoSetPowerState(DeviceObject, DevicePowerState, State);

    UpperComplete(Irp, STATUS_SUCCESS, 0); /* BUG: only the bus driver completes it. */
    IoReleaseRemoveLock(&extension->Upper.RemoveLock, Irp);

    return STATUS_SUCCESS;
}

#endif
