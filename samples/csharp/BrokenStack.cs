namespace Irpwright.Samples;

/// <summary>Sends an IRP that has no stack location left for the driver below. Twin of <c>broken-stack.c</c>.</summary>
/// <remarks>
/// READ goes down in an IRP of the driver's own. The driver takes a stack location for itself, to keep the original request in,
/// but allocates the IRP with only one: the count has to be that of the device below, plus one.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x35--no-more-irp-stack-locations"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioallocateirp"/>
public sealed class BrokenStack : Skeleton
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) =>
        FilterInitialize(DriverObject, BrokenStackAddDevice, BrokenStackDispatchRead);

    NTSTATUS BrokenStackAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject) =>
        FilterAttach(DriverObject, PhysicalDeviceObject, SizeOf<FILTER_EXTENSION>(), out _);

    NTSTATUS BrokenStackDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFILTER_EXTENSION)DeviceObject.DeviceExtension;

        PIRP readIrp = IoAllocateIrp(1, false); // BUG: LowerDevice.StackSize + 1
        if (readIrp.IsNull)
        {
            Irp.IoStatus.Status = STATUS_INSUFFICIENT_RESOURCES;
            Irp.IoStatus.Information = 0;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        readIrp.MdlAddress = Irp.MdlAddress;
        readIrp.AssociatedIrp.SystemBuffer = Irp.AssociatedIrp.SystemBuffer;
        readIrp.UserBuffer = Irp.UserBuffer;

        IoSetNextIrpStackLocation(readIrp);
        PIO_STACK_LOCATION own = IoGetCurrentIrpStackLocation(readIrp);
        own.DeviceObject = DeviceObject;
        own.Parameters.Others.Argument1 = Irp;

        PIO_STACK_LOCATION next = IoGetNextIrpStackLocation(readIrp);
        next.MajorFunction = IRP_MJ_READ;
        next.Parameters.Read = IoGetCurrentIrpStackLocation(Irp).Parameters.Read;
        IoSetCompletionRoutine(readIrp, BrokenStackReadDone, default, true, true, true);

        IoMarkIrpPending(Irp);
        _ = IoCallDriver(extension.LowerDevice, readIrp);

        return STATUS_PENDING;
    }

    NTSTATUS BrokenStackReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var original = (PIRP)IoGetCurrentIrpStackLocation(Irp).Parameters.Others.Argument1;

        original.IoStatus = Irp.IoStatus;
        IoFreeIrp(Irp);
        IoCompleteRequest(original, IO_NO_INCREMENT);

        return STATUS_MORE_PROCESSING_REQUIRED;
    }
}
