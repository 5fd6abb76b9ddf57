namespace Irpwright.Samples;

/// <summary>Returns another status than the driver that completed the IRP. Twin of <c>broken-status.c</c>.</summary>
/// <remarks>
/// Devices without a cache fail IRP_MJ_FLUSH_BUFFERS with STATUS_INVALID_DEVICE_REQUEST, and programs take that for a loss of data.
/// So the filter wants such a flush to succeed. It passes the IRP down and returns STATUS_SUCCESS where the lower driver returned
/// that error. But the lower driver has completed the IRP, with its own status: whoever trusts the one and whoever trusts the other
/// do not agree. A result is changed in a completion routine.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-lowerdriverreturn"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet"/>
public sealed class BrokenStatus : Upper
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenStatusAddDevice);
        DriverObject.MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Routine(BrokenStatusDispatchFlush);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenStatusAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<STATUS_EXTENSION>(), out PDEVICE_OBJECT deviceObject);

        return status.IsSuccess ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
    }

    NTSTATUS BrokenStatusDispatchFlush(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSTATUS_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.Upper.LowerDevice, Irp);

        if (status == STATUS_INVALID_DEVICE_REQUEST)
        {
            InterlockedIncrement(ref extension.Ignored);
            status = STATUS_SUCCESS; // BUG: the IRP was completed with STATUS_INVALID_DEVICE_REQUEST.
        }

        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return status;
    }
}

struct STATUS_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public int Ignored;
}

[PointerTo(typeof(STATUS_EXTENSION))] readonly partial struct PSTATUS_EXTENSION;
