namespace Irpwright.Samples;

/// <summary>Loses a cancellation. Twin of <c>broken-lostcancel.c</c>.</summary>
/// <remarks>
/// \Device\LostCancel0 (\DosDevices\LostCancel0) tells one program what another does: IOCTL_LOSTCANCEL_WAIT (0x00226010) waits until
/// IOCTL_LOSTCANCEL_NOTIFY (0x0022A014), the "inverted call". The driver looks whether the request has been cancelled already, and then
/// sets its cancel routine. A cancellation between the two finds no routine to call, and nobody looks again: the request waits on.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-irpcancelfield"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-a-driver-supplied-spin-lock"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/synchronizing-irp-cancellation"/>
public sealed class BrokenLostCancel : Software
{
    const string LOSTCANCEL_DEVICE_NAME = @"\Device\LostCancel0";
    const string LOSTCANCEL_LINK_NAME = @"\DosDevices\LostCancel0";

    public static readonly uint IOCTL_LOSTCANCEL_WAIT = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x804, METHOD_BUFFERED, FILE_READ_ACCESS);
    public static readonly uint IOCTL_LOSTCANCEL_NOTIFY = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x805, METHOD_BUFFERED, FILE_WRITE_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = SoftwareCreate(DriverObject, RTL_CONSTANT_STRING(LOSTCANCEL_DEVICE_NAME), RTL_CONSTANT_STRING(LOSTCANCEL_LINK_NAME),
            SizeOf<LOSTCANCEL_EXTENSION>(), out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PLOSTCANCEL_EXTENSION)deviceObject.DeviceExtension;
        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.Lock));

        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(BrokenLostCancelDispatchDeviceControl);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(BrokenLostCancelDispatchCleanup);
        DriverObject.DriverUnload = Routine(BrokenLostCancelUnload);
        SoftwareReady(deviceObject);

        return STATUS_SUCCESS;
    }

    void BrokenLostCancelUnload(PDRIVER_OBJECT DriverObject) =>
        SoftwareDelete(DriverObject.DeviceObject, RTL_CONSTANT_STRING(LOSTCANCEL_LINK_NAME));

    NTSTATUS BrokenLostCancelDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PLOSTCANCEL_EXTENSION)DeviceObject.DeviceExtension;

        uint code = IoGetCurrentIrpStackLocation(Irp).Parameters.DeviceIoControl.IoControlCode;

        if (code == IOCTL_LOSTCANCEL_WAIT)
        {
            return BrokenLostCancelWait(extension, Irp);
        }
        else if (code == IOCTL_LOSTCANCEL_NOTIFY)
        {
            PIRP waiting = BrokenLostCancelTake(extension, default);
            if (waiting.IsNull)
            {
                return SoftwareComplete(Irp, STATUS_NOT_FOUND, 0);
            }

            SoftwareComplete(waiting, STATUS_SUCCESS, 0);
            return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
        }
        else
        {
            return SoftwareComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
        }
    }

    NTSTATUS BrokenLostCancelWait(PLOSTCANCEL_EXTENSION Extension, PIRP Irp)
    {
        NTSTATUS refused = STATUS_SUCCESS;

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref Extension.Lock), out KIRQL irql);

        if (!Extension.Waiting.IsNull)
        {
            refused = STATUS_DEVICE_BUSY;
        }
        else if (Irp.Cancel)
        {
            refused = STATUS_CANCELLED;
        }
        else
        {
            // BUG: cancelled from here on, and before the routine is set, means never.
            IoMarkIrpPending(Irp);
            Extension.Waiting = Irp;
            IoSetCancelRoutine(Irp, BrokenLostCancelCancel);
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref Extension.Lock), irql);

        return refused == STATUS_SUCCESS ? STATUS_PENDING : SoftwareComplete(Irp, refused, 0);
    }

    // The request that waits, for the caller to complete; null if there is none, or none of that file, or if it is being cancelled.
    PIRP BrokenLostCancelTake(PLOSTCANCEL_EXTENSION Extension, PFILE_OBJECT FileObject)
    {
        KeAcquireSpinLock(PKSPIN_LOCK.To(ref Extension.Lock), out KIRQL irql);

        PIRP waiting = Extension.Waiting;
        if (!waiting.IsNull && !FileObject.IsNull && IoGetCurrentIrpStackLocation(waiting).FileObject != FileObject)
        {
            waiting = default;
        }

        if (!waiting.IsNull && IoSetCancelRoutine(waiting, null).IsNull)
        {
            waiting = default;
        }

        if (!waiting.IsNull)
        {
            Extension.Waiting = default;
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref Extension.Lock), irql);

        return waiting;
    }

    void BrokenLostCancelCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PLOSTCANCEL_EXTENSION)DeviceObject.DeviceExtension;

        IoReleaseCancelSpinLock(Irp.CancelIrql);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);
        extension.Waiting = default;
        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        SoftwareComplete(Irp, STATUS_CANCELLED, 0);
    }

    NTSTATUS BrokenLostCancelDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIRP waiting = BrokenLostCancelTake((PLOSTCANCEL_EXTENSION)DeviceObject.DeviceExtension, IoGetCurrentIrpStackLocation(Irp).FileObject);

        if (!waiting.IsNull)
        {
            SoftwareComplete(waiting, STATUS_CANCELLED, 0);
        }

        return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
    }
}

struct LOSTCANCEL_EXTENSION
{
    public KSPIN_LOCK Lock; // guards Waiting
    public PIRP Waiting;    // at most one
}

[PointerTo(typeof(LOSTCANCEL_EXTENSION))] readonly partial struct PLOSTCANCEL_EXTENSION;
