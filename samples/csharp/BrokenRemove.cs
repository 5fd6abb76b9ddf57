namespace Irpwright.Samples;

/// <summary>Does not tell the drivers below that their device is gone. Twin of <c>broken-remove.c</c>.</summary>
/// <remarks>
/// The filter counts requests and fails those that come after a surprise removal. "The hardware is gone, so there is nothing left to
/// send down": it completes IRP_MN_SURPRISE_REMOVAL itself. The function driver and the bus driver never hear of it, keep their
/// requests waiting and their resources allocated.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-an-irp-mn-surprise-removal-request"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/passing-pnp-irps-down-the-device-stack"/>
public sealed class BrokenRemove : Upper
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenRemoveAddDevice);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(BrokenRemoveDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(BrokenRemoveDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(BrokenRemoveDispatchPnp);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenRemoveAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<REMOVE_EXTENSION>(), out PDEVICE_OBJECT deviceObject);

        return status.IsSuccess ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
    }

    NTSTATUS BrokenRemoveDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PREMOVE_EXTENSION)DeviceObject.DeviceExtension;

        if (extension.Gone != 0)
        {
            return UpperComplete(Irp, STATUS_DEVICE_REMOVED, 0);
        }

        InterlockedIncrement(ref extension.Requests);

        return UpperDispatchPassDown(DeviceObject, Irp);
    }

    NTSTATUS BrokenRemoveDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PREMOVE_EXTENSION)DeviceObject.DeviceExtension;

        switch (IoGetCurrentIrpStackLocation(Irp).MinorFunction)
        {
            case IRP_MN_START_DEVICE:
                InterlockedExchange(ref extension.Gone, 0);
                break;

            case IRP_MN_SURPRISE_REMOVAL:
                return BrokenRemoveSurprise(extension, Irp);
        }

        return UpperDispatchPnp(DeviceObject, Irp);
    }

    NTSTATUS BrokenRemoveSurprise(PREMOVE_EXTENSION Extension, PIRP Irp)
    {
        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref Extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        InterlockedExchange(ref Extension.Gone, 1);

        status = UpperComplete(Irp, STATUS_SUCCESS, 0); // BUG: only the bus driver completes it.

        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref Extension.Upper.RemoveLock), Irp);

        return status;
    }
}

struct REMOVE_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public int Gone;
    public int Requests;
}

[PointerTo(typeof(REMOVE_EXTENSION))] readonly partial struct PREMOVE_EXTENSION;
