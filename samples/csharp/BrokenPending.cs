namespace Irpwright.Samples;

/// <summary>Does not pass the pending mark on. Twin of <c>broken-pending.c</c>.</summary>
/// <remarks>
/// The filter counts reads, bytes and failures in a completion routine. Its dispatch routine returns what the lower driver returned,
/// and so the completion routine has to repeat the lower driver's mark in its own stack location. It does not. Above a driver that
/// completes at once nobody notices.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iomarkirppending"/>
public sealed class BrokenPending : Upper
{
    /// <summary>Output: PENDING_COUNTERS.</summary>
    public static readonly uint IOCTL_PENDING_GET_COUNTERS = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenPendingAddDevice);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(BrokenPendingDispatchRead);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(BrokenPendingDispatchDeviceControl);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenPendingAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<PENDING_EXTENSION>(), out PDEVICE_OBJECT deviceObject);

        return status.IsSuccess ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
    }

    NTSTATUS BrokenPendingDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPENDING_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, BrokenPendingReadDone, default, true, true, true);

        return IoCallDriver(extension.Upper.LowerDevice, Irp);
    }

    NTSTATUS BrokenPendingReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PPENDING_EXTENSION)DeviceObject.DeviceExtension;

        // BUG: nothing repeats the lower driver's mark.

        InterlockedIncrement64(ref extension.Counters.Reads);

        if (Irp.IoStatus.Status.IsSuccess)
        {
            InterlockedExchangeAdd64(ref extension.Counters.Bytes, (long)Irp.IoStatus.Information);
        }
        else
        {
            InterlockedIncrement64(ref extension.Counters.Failures);
        }

        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS BrokenPendingDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPENDING_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        if (location.Parameters.DeviceIoControl.IoControlCode != IOCTL_PENDING_GET_COUNTERS)
        {
            return UpperDispatchPassDown(DeviceObject, Irp);
        }

        if (location.Parameters.DeviceIoControl.OutputBufferLength < SizeOf<PENDING_COUNTERS>())
        {
            return UpperComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }

        ((PPENDING_COUNTERS)Irp.AssociatedIrp.SystemBuffer)[0] = extension.Counters;

        return UpperComplete(Irp, STATUS_SUCCESS, SizeOf<PENDING_COUNTERS>());
    }
}

struct PENDING_COUNTERS
{
    public long Reads;
    public long Bytes;
    public long Failures;
}

[PointerTo(typeof(PENDING_COUNTERS))] readonly partial struct PPENDING_COUNTERS;

struct PENDING_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public PENDING_COUNTERS Counters;
}

[PointerTo(typeof(PENDING_EXTENSION))] readonly partial struct PPENDING_EXTENSION;
