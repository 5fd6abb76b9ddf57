namespace Irpwright.Samples;

/// <summary>An upper filter that changes nothing and sees everything twice. Twin of <c>passthrough.c</c>.</summary>
/// <remarks>
/// Every request gets a completion routine on its way down. The dispatch routine returns what the lower driver returned, so the
/// completion routine must repeat the lower driver's pending mark: the I/O manager does that by itself only where no routine is
/// called.
/// <para>Pattern: "forward with a completion routine", scenario 3 of the cheat sheet.</para>
/// <para>
/// There is no remove lock, because nothing here outlives the call down: the completion routine touches the IRP alone, and the
/// device extension is not used after IoCallDriver. A filter that keeps a request needs one; see Retry.cs.
/// </para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine"/>
public sealed class PassThrough : WdmDriver
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(PassDispatch);
        }

        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(PassDispatchPnp);
        DriverObject.MajorFunction[IRP_MJ_POWER] = Routine(PassDispatchPower);
        DriverObject.DriverExtension.AddDevice = Routine(PassAddDevice);
        DriverObject.DriverUnload = Routine(PassUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS PassAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<PASS_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PPASS_EXTENSION)deviceObject.DeviceExtension;
        extension.LowerDevice = IoAttachDeviceToDeviceStack(deviceObject, PhysicalDeviceObject);
        if (extension.LowerDevice.IsNull)
        {
            IoDeleteDevice(deviceObject);
            return STATUS_NO_SUCH_DEVICE;
        }

        // To drivers above, the top of the stack must look like the device below it.
        deviceObject.DeviceType = extension.LowerDevice.DeviceType;
        deviceObject.Characteristics |= extension.LowerDevice.Characteristics & FILE_CHARACTERISTICS_PROPAGATED;
        deviceObject.Flags |= extension.LowerDevice.Flags & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void PassUnload(PDRIVER_OBJECT DriverObject)
    {
        // REMOVE_DEVICE has deleted every device by now, and DriverEntry acquired nothing.
    }

    NTSTATUS PassDispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPASS_EXTENSION)DeviceObject.DeviceExtension;

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, PassDone, default, true, true, true);

        return IoCallDriver(extension.LowerDevice, Irp);
    }

    NTSTATUS PassDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        if (Irp.PendingReturned)
        {
            IoMarkIrpPending(Irp);
        }

        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS PassDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPASS_EXTENSION)DeviceObject.DeviceExtension;
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        // Both removals are handled here and cannot fail; every other minor code is passed on untouched.
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

    NTSTATUS PassDispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PPASS_EXTENSION)DeviceObject.DeviceExtension;

        // Systems before Windows Vista need these two calls for power IRPs; since then they are a no-op and IoCallDriver.
        PoStartNextPowerIrp(Irp);
        IoSkipCurrentIrpStackLocation(Irp);

        return PoCallDriver(extension.LowerDevice, Irp);
    }
}

struct PASS_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
}

[PointerTo(typeof(PASS_EXTENSION))] readonly partial struct PPASS_EXTENSION;
