/*
 * passthrough.c: an upper filter that changes nothing and sees everything twice.
 *
 * Every request gets a completion routine on its way down. The dispatch routine returns what the lower driver returned, so the completion
 * routine must repeat the lower driver's pending mark: the I/O manager does that by itself only where no routine is called.
 *
 * Pattern: "forward with a completion routine", scenario 3 of
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine
 *
 * There is no remove lock, because nothing here outlives the call down: the completion routine touches the IRP alone, and the device
 * extension is not used after IoCallDriver. A filter that keeps a request needs one; see retry.c.
 */
#include "wdk.h"

typedef struct _PASS_EXTENSION {
    PDEVICE_OBJECT LowerDevice;
} PASS_EXTENSION, *PPASS_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_ADD_DEVICE PassAddDevice;
DRIVER_UNLOAD PassUnload;
DRIVER_DISPATCH PassDispatch;
DRIVER_DISPATCH PassDispatchPnp;
DRIVER_DISPATCH PassDispatchPower;
IO_COMPLETION_ROUTINE PassDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG major;

    UNREFERENCED_PARAMETER(RegistryPath);

    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) {
        DriverObject->MajorFunction[major] = PassDispatch;
    }

    DriverObject->MajorFunction[IRP_MJ_PNP] = PassDispatchPnp;
    DriverObject->MajorFunction[IRP_MJ_POWER] = PassDispatchPower;
    DriverObject->DriverExtension->AddDevice = PassAddDevice;
    DriverObject->DriverUnload = PassUnload;

    return STATUS_SUCCESS;
}

NTSTATUS PassAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;
    PPASS_EXTENSION extension;
    NTSTATUS status;

    status = IoCreateDevice(DriverObject, sizeof(PASS_EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    extension = deviceObject->DeviceExtension;
    extension->LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
    if (extension->LowerDevice == NULL) {
        IoDeleteDevice(deviceObject);
        return STATUS_NO_SUCH_DEVICE;
    }

    /* To drivers above, the top of the stack must look like the device below it. */
    deviceObject->DeviceType = extension->LowerDevice->DeviceType;
    deviceObject->Characteristics |= extension->LowerDevice->Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
    deviceObject->Flags |= extension->LowerDevice->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID PassUnload(PDRIVER_OBJECT DriverObject)
{
    /* REMOVE_DEVICE has deleted every device by now, and DriverEntry acquired nothing. */
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS PassDispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPASS_EXTENSION extension = DeviceObject->DeviceExtension;

    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, PassDone, NULL, TRUE, TRUE, TRUE);

    return IoCallDriver(extension->LowerDevice, Irp);
}

NTSTATUS PassDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);

    if (Irp->PendingReturned) {
        IoMarkIrpPending(Irp);
    }

    return STATUS_CONTINUE_COMPLETION;
}

NTSTATUS PassDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPASS_EXTENSION extension = DeviceObject->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    /* Both removals are handled here and cannot fail; every other minor code is passed on untouched. */
    if (minor == IRP_MN_REMOVE_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        Irp->IoStatus.Status = STATUS_SUCCESS;
    }

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(extension->LowerDevice, Irp);

    if (minor == IRP_MN_REMOVE_DEVICE) {
        IoDetachDevice(extension->LowerDevice);
        IoDeleteDevice(DeviceObject);
    }

    return status;
}

NTSTATUS PassDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PPASS_EXTENSION extension = DeviceObject->DeviceExtension;

    /* Systems before Windows Vista need these two calls for power IRPs; since then they are a no-op and IoCallDriver. */
    PoStartNextPowerIrp(Irp);
    IoSkipCurrentIrpStackLocation(Irp);

    return PoCallDriver(extension->LowerDevice, Irp);
}
