namespace Irpwright.Samples;

/// <summary>
/// The smallest filter, for the Broken*.cs drivers: everything but IRP_MJ_READ is passed down untouched, and each of them adds the
/// one routine that is wrong. The complete filters (PassThrough.cs, Retry.cs, ...) do not use it. Twin of <c>skeleton.h</c>.
/// </summary>
public abstract class Skeleton : WdmDriver
{
    protected NTSTATUS FilterDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFILTER_EXTENSION)DeviceObject.DeviceExtension;

        IoSkipCurrentIrpStackLocation(Irp);

        return IoCallDriver(extension.LowerDevice, Irp);
    }

    NTSTATUS FilterDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFILTER_EXTENSION)DeviceObject.DeviceExtension;
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        if (minor is IRP_MN_REMOVE_DEVICE or IRP_MN_SURPRISE_REMOVAL)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
        }

        IoSkipCurrentIrpStackLocation(Irp);
        NTSTATUS status = IoCallDriver(extension.LowerDevice, Irp);

        if (minor == IRP_MN_REMOVE_DEVICE)
        {
            IoDetachDevice(extension.LowerDevice);
            IoDeleteDevice(DeviceObject);
        }

        return status;
    }

    void FilterUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    protected NTSTATUS FilterInitialize(PDRIVER_OBJECT DriverObject, DRIVER_ADD_DEVICE AddDevice, DRIVER_DISPATCH DispatchRead)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(FilterDispatchPassDown);
        }

        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(DispatchRead);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(FilterDispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        DriverObject.DriverUnload = Routine(FilterUnload);

        return STATUS_SUCCESS;
    }

    /// <summary>Creates the filter device, with a zeroed extension of the given size, and attaches it.</summary>
    protected NTSTATUS FilterAttach(
        PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject, uint ExtensionSize, out PDEVICE_OBJECT DeviceObject)
    {
        DeviceObject = default;
        NTSTATUS status = IoCreateDevice(
            DriverObject, ExtensionSize, default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PFILTER_EXTENSION)deviceObject.DeviceExtension;
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
        DeviceObject = deviceObject;

        return STATUS_SUCCESS;
    }
}

/// <summary>The first member of every extension.</summary>
struct FILTER_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
}

[PointerTo(typeof(FILTER_EXTENSION))] readonly partial struct PFILTER_EXTENSION;
