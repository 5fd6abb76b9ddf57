namespace Irpwright.Samples;

/// <summary>An upper filter of a Plug and Play device that holds a remove lock. Twin of <c>pnpfilter.c</c>.</summary>
/// <remarks>
/// It passes everything down. Requests other than PnP and power ones get a completion routine, which runs after the dispatch routine
/// has returned when a driver below pends: the lock keeps the device, and the driver's code, until then. IOCTL_PNPFILTER_COUNT
/// (0x00226400) returns how many requests have come back (32 bits).
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-a-device-in-a-filter-driver"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks"/>
public sealed class PnpFilter : WdmDriver
{
    const uint FILTER_TAG = 0x746C6946; // 'tliF'
    public static readonly uint IOCTL_PNPFILTER_COUNT = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900, METHOD_BUFFERED, FILE_READ_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(FilterDispatch);
        }

        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(FilterDispatchDeviceControl);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(FilterDispatchPnp);
        DriverObject.MajorFunction[IRP_MJ_POWER] = Routine(FilterDispatchPower);
        DriverObject.DriverExtension.AddDevice = Routine(FilterAddDevice);
        DriverObject.DriverUnload = Routine(FilterUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS FilterAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<PNPFILTER_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PPNPFILTER_EXTENSION)deviceObject.DeviceExtension;
        IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), FILTER_TAG, 0, 0);
        extension.LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
        if (extension.LowerDevice.IsNull)
        {
            IoDeleteDevice(deviceObject);
            return STATUS_NO_SUCH_DEVICE;
        }

        deviceObject.DeviceType = extension.LowerDevice.DeviceType;
        deviceObject.Characteristics |= extension.LowerDevice.Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
        deviceObject.Flags |= extension.LowerDevice.Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void FilterUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    NTSTATUS FilterFail(PIRP Irp, NTSTATUS Status)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }

    NTSTATUS FilterDispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPNPFILTER_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return FilterFail(Irp, status);
        }

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, FilterDone, default, true, true, true);

        return IoCallDriver(extension.LowerDevice, Irp);
    }

    NTSTATUS FilterDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var extension = (PPNPFILTER_EXTENSION)DeviceObject.DeviceExtension;

        if (Irp.PendingReturned)
        {
            IoMarkIrpPending(Irp);
        }

        InterlockedIncrement(ref extension.Count);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS FilterDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPNPFILTER_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

        if (stack.Parameters.DeviceIoControl.IoControlCode != IOCTL_PNPFILTER_COUNT)
        {
            return FilterDispatch(DeviceObject, Irp);
        }

        if (stack.Parameters.DeviceIoControl.OutputBufferLength < SizeOf<int>())
        {
            return FilterFail(Irp, STATUS_BUFFER_TOO_SMALL);
        }

        ((PULONG)Irp.AssociatedIrp.SystemBuffer)[0] = (uint)extension.Count;
        Irp.IoStatus.Status = STATUS_SUCCESS;
        Irp.IoStatus.Information = SizeOf<int>();
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return STATUS_SUCCESS;
    }

    NTSTATUS FilterDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPNPFILTER_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return FilterFail(Irp, status);
        }

        if (minor is IRP_MN_REMOVE_DEVICE or IRP_MN_SURPRISE_REMOVAL)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);

        if (minor == IRP_MN_REMOVE_DEVICE)
        {
            IoReleaseRemoveLockAndWait(removeLock, Irp);
            IoDetachDevice(extension.LowerDevice);
            IoDeleteDevice(DeviceObject);
        }
        else
        {
            IoReleaseRemoveLock(removeLock, Irp);
        }

        return status;
    }

    NTSTATUS FilterDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPNPFILTER_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return FilterFail(Irp, status);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = PoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }
}

struct PNPFILTER_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
    public IO_REMOVE_LOCK RemoveLock;
    public int Count;
}

[PointerTo(typeof(PNPFILTER_EXTENSION))] readonly partial struct PPNPFILTER_EXTENSION;
