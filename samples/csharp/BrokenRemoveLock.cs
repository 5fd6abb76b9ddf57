namespace Irpwright.Samples;

/// <summary>Does not give the remove lock back on one path. Twin of <c>broken-removelock.c</c>.</summary>
/// <remarks>
/// The filter makes a device read-only, and a WRITE to a protected device fails with STATUS_MEDIA_WRITE_PROTECTED. That path keeps the
/// remove lock it acquired. Everything works until the device is removed, and IoReleaseRemoveLockAndWait waits for a request that was
/// over long ago.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioreleaseremovelockandwait"/>
public sealed class BrokenRemoveLock : Upper
{
    /// <summary>Switches the protection on and off. Input: ULONG.</summary>
    public static readonly uint IOCTL_REMOVELOCK_PROTECT = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x806, METHOD_BUFFERED, FILE_WRITE_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenRemoveLockAddDevice);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(BrokenRemoveLockDispatchWrite);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(BrokenRemoveLockDispatchDeviceControl);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenRemoveLockAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<REMOVELOCK_EXTENSION>(), out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        ((PREMOVELOCK_EXTENSION)deviceObject.DeviceExtension).Protected = 1;

        return UpperAttach(deviceObject, PhysicalDeviceObject);
    }

    NTSTATUS BrokenRemoveLockDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PREMOVELOCK_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        if (extension.Protected != 0)
        {
            return UpperComplete(Irp, STATUS_MEDIA_WRITE_PROTECTED, 0); // BUG: the remove lock is still held.
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.Upper.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return status;
    }

    NTSTATUS BrokenRemoveLockDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PREMOVELOCK_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        if (location.Parameters.DeviceIoControl.IoControlCode != IOCTL_REMOVELOCK_PROTECT)
        {
            return UpperDispatchPassDown(DeviceObject, Irp);
        }

        if (location.Parameters.DeviceIoControl.InputBufferLength < sizeof(uint))
        {
            return UpperComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        }

        InterlockedExchange(ref extension.Protected, ((PULONG)Irp.AssociatedIrp.SystemBuffer)[0] != 0 ? 1 : 0);

        return UpperComplete(Irp, STATUS_SUCCESS, 0);
    }
}

struct REMOVELOCK_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public int Protected;
}

[PointerTo(typeof(REMOVELOCK_EXTENSION))] readonly partial struct PREMOVELOCK_EXTENSION;
