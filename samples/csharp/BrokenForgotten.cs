namespace Irpwright.Samples;

/// <summary>Returns from a dispatch routine without having completed the IRP. Twin of <c>broken-forgotten.c</c>.</summary>
/// <remarks>
/// \Device\Forgotten0 (\DosDevices\Forgotten0) keeps the settings of some device. Settings of the wrong version are refused, by a
/// return in the middle of the routine, which skips the IoCompleteRequest at its end.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/completing-irps"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-irpprocessingcomplete"/>
public sealed class BrokenForgotten : Software
{
    const string FORGOTTEN_DEVICE_NAME = @"\Device\Forgotten0";
    const string FORGOTTEN_LINK_NAME = @"\DosDevices\Forgotten0";
    const uint FORGOTTEN_VERSION = 1;

    /// <summary>Output: FORGOTTEN_SETTINGS.</summary>
    public static readonly uint IOCTL_FORGOTTEN_GET = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_READ_ACCESS);

    /// <summary>Input: FORGOTTEN_SETTINGS.</summary>
    public static readonly uint IOCTL_FORGOTTEN_SET = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_BUFFERED, FILE_WRITE_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = SoftwareCreate(DriverObject, RTL_CONSTANT_STRING(FORGOTTEN_DEVICE_NAME), RTL_CONSTANT_STRING(FORGOTTEN_LINK_NAME),
            SizeOf<FORGOTTEN_EXTENSION>(), out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PFORGOTTEN_EXTENSION)deviceObject.DeviceExtension;
        ExInitializeFastMutex(PFAST_MUTEX.To(ref extension.Lock));
        extension.Settings.Version = FORGOTTEN_VERSION;
        extension.Settings.Timeout = 1000;

        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(BrokenForgottenDispatchDeviceControl);
        DriverObject.DriverUnload = Routine(BrokenForgottenUnload);
        SoftwareReady(deviceObject);

        return STATUS_SUCCESS;
    }

    void BrokenForgottenUnload(PDRIVER_OBJECT DriverObject) =>
        SoftwareDelete(DriverObject.DeviceObject, RTL_CONSTANT_STRING(FORGOTTEN_LINK_NAME));

    NTSTATUS BrokenForgottenDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFORGOTTEN_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        var settings = (PFORGOTTEN_SETTINGS)Irp.AssociatedIrp.SystemBuffer;
        uint code = location.Parameters.DeviceIoControl.IoControlCode;
        ulong information = 0;
        NTSTATUS status = STATUS_SUCCESS;

        if (code == IOCTL_FORGOTTEN_GET)
        {
            if (location.Parameters.DeviceIoControl.OutputBufferLength < SizeOf<FORGOTTEN_SETTINGS>())
            {
                return SoftwareComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
            }

            ExAcquireFastMutex(PFAST_MUTEX.To(ref extension.Lock));
            settings[0] = extension.Settings;
            ExReleaseFastMutex(PFAST_MUTEX.To(ref extension.Lock));
            information = SizeOf<FORGOTTEN_SETTINGS>();
        }
        else if (code == IOCTL_FORGOTTEN_SET)
        {
            if (location.Parameters.DeviceIoControl.InputBufferLength < SizeOf<FORGOTTEN_SETTINGS>())
            {
                return SoftwareComplete(Irp, STATUS_INVALID_PARAMETER, 0);
            }

            if (settings.Version != FORGOTTEN_VERSION)
            {
                return STATUS_REVISION_MISMATCH; // BUG: nobody completes the IRP.
            }

            ExAcquireFastMutex(PFAST_MUTEX.To(ref extension.Lock));
            extension.Settings = settings[0];
            ExReleaseFastMutex(PFAST_MUTEX.To(ref extension.Lock));
        }
        else
        {
            status = STATUS_INVALID_DEVICE_REQUEST;
        }

        return SoftwareComplete(Irp, status, information);
    }
}

struct FORGOTTEN_SETTINGS
{
    public uint Version;
    public uint Timeout;
}

[PointerTo(typeof(FORGOTTEN_SETTINGS))] readonly partial struct PFORGOTTEN_SETTINGS;

struct FORGOTTEN_EXTENSION
{
    public FAST_MUTEX Lock;
    public FORGOTTEN_SETTINGS Settings;
}

[PointerTo(typeof(FORGOTTEN_EXTENSION))] readonly partial struct PFORGOTTEN_EXTENSION;
