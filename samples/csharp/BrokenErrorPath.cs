namespace Irpwright.Samples;

/// <summary>Completes an IRP that the lower driver has completed already. Twin of <c>broken-errorpath.c</c>.</summary>
/// <remarks>
/// The filter refuses reads of more than 64 KiB and passes the others down. All its errors leave by one exit, which gives the remove
/// lock back and completes the IRP. An error of the lower driver takes that exit too, but that IRP is over.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/completing-irps"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x44--multiple-irp-complete-requests"/>
public sealed class BrokenErrorPath : Upper
{
    const uint ERRORPATH_LARGEST_READ = 0x10000;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenErrorPathAddDevice);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(BrokenErrorPathDispatchRead);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenErrorPathAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<ERRORPATH_EXTENSION>(), out PDEVICE_OBJECT deviceObject);

        return status.IsSuccess ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
    }

    NTSTATUS BrokenErrorPathDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PERRORPATH_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        if (location.Parameters.Read.Length > ERRORPATH_LARGEST_READ)
        {
            status = STATUS_INVALID_PARAMETER;
            goto fail;
        }

        if (location.Parameters.Read.ByteOffset < 0)
        {
            status = STATUS_INVALID_PARAMETER;
            goto fail;
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.Upper.LowerDevice, Irp);

        if (!status.IsSuccess)
        {
            goto fail; // BUG: the IRP is not this driver's any more.
        }

        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return status;

    fail:
        InterlockedIncrement(ref extension.Failures);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return UpperComplete(Irp, status, 0);
    }
}

struct ERRORPATH_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public int Failures;
}

[PointerTo(typeof(ERRORPATH_EXTENSION))] readonly partial struct PERRORPATH_EXTENSION;
