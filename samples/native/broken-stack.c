/*
 * broken-stack.c: sends an IRP that has no stack location left for the driver below.
 *
 * READ goes down in an IRP of the driver's own. The driver takes a stack location for itself, to keep the original request in, but
 * allocates the IRP with only one: the count has to be that of the device below, plus one.
 *
 * On Windows: bug check 0x35, NO_MORE_IRP_STACK_LOCATIONS.
 *   https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x35--no-more-irp-stack-locations
 *   https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioallocateirp
 */
#include "skeleton.h"

DRIVER_ADD_DEVICE BrokenStackAddDevice;
DRIVER_DISPATCH BrokenStackDispatchRead;
IO_COMPLETION_ROUTINE BrokenStackReadDone;

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    return FilterInitialize(DriverObject, BrokenStackAddDevice, BrokenStackDispatchRead);
}

NTSTATUS BrokenStackAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    PDEVICE_OBJECT deviceObject;

    return FilterAttach(DriverObject, PhysicalDeviceObject, sizeof(FILTER_EXTENSION), &deviceObject);
}

NTSTATUS BrokenStackDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PFILTER_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION own;
    PIO_STACK_LOCATION next;
    PIRP readIrp;

    readIrp = IoAllocateIrp(1, FALSE); /* BUG: LowerDevice->StackSize + 1 */
    if (readIrp == NULL) {
        Irp->IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
        Irp->IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    readIrp->MdlAddress = Irp->MdlAddress;
    readIrp->AssociatedIrp.SystemBuffer = Irp->AssociatedIrp.SystemBuffer;
    readIrp->UserBuffer = Irp->UserBuffer;

    IoSetNextIrpStackLocation(readIrp);
    own = IoGetCurrentIrpStackLocation(readIrp);
    own->DeviceObject = DeviceObject;
    own->Parameters.Others.Argument1 = Irp;

    next = IoGetNextIrpStackLocation(readIrp);
    next->MajorFunction = IRP_MJ_READ;
    next->Parameters.Read = IoGetCurrentIrpStackLocation(Irp)->Parameters.Read;
    IoSetCompletionRoutine(readIrp, BrokenStackReadDone, NULL, TRUE, TRUE, TRUE);

    IoMarkIrpPending(Irp);
    (VOID)IoCallDriver(extension->LowerDevice, readIrp);

    return STATUS_PENDING;
}

NTSTATUS BrokenStackReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    PIRP original = IoGetCurrentIrpStackLocation(Irp)->Parameters.Others.Argument1;

    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);

    original->IoStatus = Irp->IoStatus;
    IoFreeIrp(Irp);
    IoCompleteRequest(original, IO_NO_INCREMENT);

    return STATUS_MORE_PROCESSING_REQUIRED;
}
