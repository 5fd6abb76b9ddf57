namespace Irpwright.Samples;

/// <summary>
/// An upper filter that does everything right and nothing else: it attaches, passes requests down under a remove lock, and goes when
/// its device goes. The Broken*.cs filters that use it replace a dispatch routine or two by their own. Twin of <c>upper.h</c>.
/// </summary>
public abstract class Upper : WdmDriver
{
    const uint UPPER_TAG = 0x65707055; // 'eppU'

    protected NTSTATUS UpperComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }

    protected NTSTATUS UpperDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PUPPER_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }

    protected NTSTATUS UpperDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PUPPER_EXTENSION)DeviceObject.DeviceExtension;
        PIO_REMOVE_LOCK removeLock = PIO_REMOVE_LOCK.To(ref extension.RemoveLock);
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        NTSTATUS status = IoAcquireRemoveLock(removeLock, Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
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

    NTSTATUS UpperDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PUPPER_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = PoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }

    void UpperUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    protected void UpperInitialize(PDRIVER_OBJECT DriverObject, DRIVER_ADD_DEVICE AddDevice)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(UpperDispatchPassDown);
        }

        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(UpperDispatchPnp);
        DriverObject.MajorFunction[IRP_MJ_POWER] = Routine(UpperDispatchPower);
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        DriverObject.DriverUnload = Routine(UpperUnload);
    }

    /// <summary>
    /// Creates the filter device with a zeroed extension of the given size. What the driver keeps there is set before
    /// <see cref="UpperAttach"/>.
    /// </summary>
    protected NTSTATUS UpperCreate(PDRIVER_OBJECT DriverObject, uint ExtensionSize, out PDEVICE_OBJECT DeviceObject)
    {
        NTSTATUS status = IoCreateDevice(
            DriverObject, ExtensionSize, default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, false, out DeviceObject);
        if (status.IsSuccess)
        {
            var extension = (PUPPER_EXTENSION)DeviceObject.DeviceExtension;
            IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), UPPER_TAG, 0, 0);
        }

        return status;
    }

    /// <summary>Attaches the filter device, or deletes it.</summary>
    protected NTSTATUS UpperAttach(PDEVICE_OBJECT DeviceObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        var extension = (PUPPER_EXTENSION)DeviceObject.DeviceExtension;

        extension.LowerDevice = IoAttachDeviceToDeviceStack(DeviceObject, PhysicalDeviceObject);
        if (extension.LowerDevice.IsNull)
        {
            IoDeleteDevice(DeviceObject);
            return STATUS_NO_SUCH_DEVICE;
        }

        DeviceObject.DeviceType = extension.LowerDevice.DeviceType;
        DeviceObject.Characteristics |= extension.LowerDevice.Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
        DeviceObject.Flags |= extension.LowerDevice.Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
        DeviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }
}

/// <summary>The first member of every extension.</summary>
struct UPPER_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
    public IO_REMOVE_LOCK RemoveLock;
}

[PointerTo(typeof(UPPER_EXTENSION))] readonly partial struct PUPPER_EXTENSION;
