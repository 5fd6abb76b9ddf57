namespace Irpwright.Samples;

/// <summary>
/// What software devices have in common, done right: one named device with a symbolic link, buffered I/O, and files that can always
/// be opened and closed. For the Broken*.cs drivers that are no filters. Twin of <c>software.h</c>.
/// </summary>
public abstract class Software : WdmDriver
{
    protected NTSTATUS SoftwareComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }

    NTSTATUS SoftwareDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp) => SoftwareComplete(Irp, STATUS_SUCCESS, 0);

    /// <summary>
    /// Creates the device with a zeroed extension of the given size. Nobody can open it before <see cref="SoftwareReady"/>.
    /// </summary>
    protected NTSTATUS SoftwareCreate(
        PDRIVER_OBJECT DriverObject, PUNICODE_STRING Name, PUNICODE_STRING Link, uint ExtensionSize, out PDEVICE_OBJECT DeviceObject)
    {
        NTSTATUS status = IoCreateDevice(
            DriverObject, ExtensionSize, Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, false, out DeviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        status = IoCreateSymbolicLink(Link, Name);
        if (!status.IsSuccess)
        {
            IoDeleteDevice(DeviceObject);
            return status;
        }

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(SoftwareDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(SoftwareDispatchCreateClose);

        return STATUS_SUCCESS;
    }

    protected void SoftwareReady(PDEVICE_OBJECT DeviceObject)
    {
        DeviceObject.Flags |= DO_BUFFERED_IO;
        DeviceObject.Flags &= ~DO_DEVICE_INITIALIZING;
    }

    protected void SoftwareDelete(PDEVICE_OBJECT DeviceObject, PUNICODE_STRING Link)
    {
        IoDeleteSymbolicLink(Link);
        IoDeleteDevice(DeviceObject);
    }
}
