using System.Runtime.CompilerServices;

namespace Irpwright.Samples;

/// <summary>
/// An upper filter that asks the device below for its length and first 512 bytes, and clips reads to that length. Twin of
/// <c>syncquery.c</c>.
/// </summary>
/// <remarks>
/// Both questions are synchronous requests: IRPs that the I/O manager builds for the current thread, completes into an event and
/// a status block, and frees. Three rules make them safe:
/// <list type="bullet">
/// <item>They finish by an APC in the building thread, so they need PASSIVE_LEVEL with APCs enabled. For the same reason the lock
/// around them is a mutex: a fast mutex would raise to APC_LEVEL and the wait would never end.</item>
/// <item>The event starts non-signalled, and the driver sets no completion routine and never frees the IRP.</item>
/// <item>Only after STATUS_PENDING does the result lie in the status block; an error returned at once may leave the block
/// unwritten.</item>
/// </list>
/// The filter asks when the device is first opened, or before the first read if nobody opened it, and again at
/// IOCTL_SYNCQUERY_GET_RESULT.
/// <para>Pattern: synchronous (threaded) IRPs without a completion routine, scenarios 6 and 8 of the cheat sheet.</para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuilddeviceiocontrolrequest"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iobuildsynchronousfsdrequest"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ni-ntdddisk-ioctl_disk_get_length_info"/>
public sealed class SyncQuery : WdmDriver
{
    const uint SYNCQUERY_TAG = 0x72517953; // 'rQyS'
    const uint SYNCQUERY_SECTOR_SIZE = 512;

    /// <summary>No input; output: one <see cref="SYNCQUERY_RESULT"/>.</summary>
    public static readonly uint IOCTL_SYNCQUERY_GET_RESULT = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS);

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(SyncQueryDispatchPassDown);
        }

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(SyncQueryDispatchCreate);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(SyncQueryDispatchRead);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(SyncQueryDispatchDeviceControl);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(SyncQueryDispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(SyncQueryAddDevice);
        DriverObject.DriverUnload = Routine(SyncQueryUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS SyncQueryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<SYNCQUERY_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PSYNCQUERY_EXTENSION)deviceObject.DeviceExtension;
        IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), SYNCQUERY_TAG, 0, 0);
        KeInitializeMutex(PKMUTEX.To(ref extension.Lock), 0);
        extension.Result.LengthStatus = STATUS_DEVICE_NOT_READY;
        extension.Result.ReadStatus = STATUS_DEVICE_NOT_READY;
        extension.LengthLimit = long.MaxValue;

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

    void SyncQueryUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    NTSTATUS SyncQueryDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSYNCQUERY_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SyncQueryComplete(Irp, status, 0);
        }

        return SyncQueryForward(extension, Irp);
    }

    NTSTATUS SyncQueryDispatchCreate(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSYNCQUERY_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SyncQueryComplete(Irp, status, 0);
        }

        _ = SyncQueryAsk(extension, false, default);

        return SyncQueryForward(extension, Irp);
    }

    NTSTATUS SyncQueryDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSYNCQUERY_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
        long offset = location.Parameters.Read.ByteOffset;
        uint length = location.Parameters.Read.Length;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SyncQueryComplete(Irp, status, 0);
        }

        if (Volatile.Read(ref extension.Queried) == 0)
        {
            _ = SyncQueryAsk(extension, false, default);
        }

        // Empty reads and the special negative offsets are the lower driver's business.
        long limit = Volatile.Read(ref extension.LengthLimit);
        if (length == 0 || offset < 0 || (offset < limit && length <= limit - offset))
        {
            return SyncQueryForward(extension, Irp);
        }

        if (offset >= limit)
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            return SyncQueryComplete(Irp, STATUS_END_OF_FILE, 0);
        }

        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoGetNextIrpStackLocation(Irp).Parameters.Read.Length = (uint)(limit - offset);
        status = IoCallDriver(extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }

    NTSTATUS SyncQueryDispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSYNCQUERY_EXTENSION)DeviceObject.DeviceExtension;
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SyncQueryComplete(Irp, status, 0);
        }

        if (location.Parameters.DeviceIoControl.IoControlCode != IOCTL_SYNCQUERY_GET_RESULT)
        {
            return SyncQueryForward(extension, Irp);
        }

        if (location.Parameters.DeviceIoControl.OutputBufferLength < SizeOf<SYNCQUERY_RESULT>())
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            return SyncQueryComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }

        status = SyncQueryAsk(extension, true, (PSYNCQUERY_RESULT)Irp.AssociatedIrp.SystemBuffer);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return SyncQueryComplete(Irp, status, status.IsSuccess ? SizeOf<SYNCQUERY_RESULT>() : 0);
    }

    // Asks the lower device if nobody has yet, or if told to ask again, and copies the answers to Result unless that is NULL.
    NTSTATUS SyncQueryAsk(PSYNCQUERY_EXTENSION Extension, bool Again, PSYNCQUERY_RESULT Result)
    {
        PSYNCQUERY_RESULT result = PSYNCQUERY_RESULT.To(ref Extension.Result);

        // Paging I/O comes with APCs disabled; it has to do without an answer.
        if (KeAreAllApcsDisabled())
        {
            return STATUS_CANT_WAIT;
        }

        KeWaitForSingleObject(PKMUTEX.To(ref Extension.Lock), Executive, KernelMode, false, null);

        if (Again || Extension.Queried == 0)
        {
            result.LengthStatus = SyncQueryGetLength(Extension.LowerDevice, out result.Length);
            result.ReadStatus = SyncQueryReadFirstBytes(
                Extension.LowerDevice, PUCHAR.To(ref result.FirstBytes[0]), out result.FirstBytesLength);

            Volatile.Write(ref Extension.LengthLimit, result.LengthStatus.IsSuccess ? result.Length : long.MaxValue);
            Volatile.Write(ref Extension.Queried, 1);
        }

        if (!Result.IsNull)
        {
            Result.Value = result.Value;
        }

        KeReleaseMutex(PKMUTEX.To(ref Extension.Lock), false);

        return STATUS_SUCCESS;
    }

    NTSTATUS SyncQueryGetLength(PDEVICE_OBJECT LowerDevice, out long Length)
    {
        using LocalVariable<GET_LENGTH_INFORMATION> information = Local<GET_LENGTH_INFORMATION>();
        using LocalVariable<IO_STATUS_BLOCK> ioStatus = Local<IO_STATUS_BLOCK>();
        using LocalVariable<KEVENT> @event = Local<KEVENT>();

        Length = 0;
        KeInitializeEvent(PKEVENT.To(ref @event.Value), NotificationEvent, false);

        PIRP irp = IoBuildDeviceIoControlRequest(IOCTL_DISK_GET_LENGTH_INFO, LowerDevice, default, 0, information.Address,
            SizeOf<GET_LENGTH_INFORMATION>(), false, PKEVENT.To(ref @event.Value), PIO_STATUS_BLOCK.To(ref ioStatus.Value));
        if (irp.IsNull)
        {
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        NTSTATUS status = SyncQuerySendAndWait(LowerDevice, irp, PKEVENT.To(ref @event.Value), PIO_STATUS_BLOCK.To(ref ioStatus.Value));
        if (!status.IsSuccess)
        {
            return status;
        }

        if (ioStatus.Value.Information < SizeOf<GET_LENGTH_INFORMATION>() || information.Value.Length < 0)
        {
            return STATUS_INVALID_DEVICE_STATE;
        }

        Length = information.Value.Length;

        return status;
    }

    NTSTATUS SyncQueryReadFirstBytes(PDEVICE_OBJECT LowerDevice, PUCHAR Buffer, out uint Length)
    {
        using LocalVariable<IO_STATUS_BLOCK> ioStatus = Local<IO_STATUS_BLOCK>();
        using LocalVariable<KEVENT> @event = Local<KEVENT>();

        Length = 0;
        KeInitializeEvent(PKEVENT.To(ref @event.Value), NotificationEvent, false);

        PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_READ, LowerDevice, Buffer, SYNCQUERY_SECTOR_SIZE, 0,
            PKEVENT.To(ref @event.Value), PIO_STATUS_BLOCK.To(ref ioStatus.Value));
        if (irp.IsNull)
        {
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        NTSTATUS status = SyncQuerySendAndWait(LowerDevice, irp, PKEVENT.To(ref @event.Value), PIO_STATUS_BLOCK.To(ref ioStatus.Value));
        if (status.IsSuccess)
        {
            Length = (uint)ioStatus.Value.Information;
        }

        return status;
    }

    NTSTATUS SyncQuerySendAndWait(PDEVICE_OBJECT LowerDevice, PIRP Irp, PKEVENT Event, PIO_STATUS_BLOCK IoStatus)
    {
        NTSTATUS status = IoCallDriver(LowerDevice, Irp);

        if (status == STATUS_PENDING)
        {
            KeWaitForSingleObject(Event, Executive, KernelMode, false, null);
            status = IoStatus.Status;
        }

        return status;
    }

    // Passes the IRP down and gives back the remove lock that the caller acquired for it.
    NTSTATUS SyncQueryForward(PSYNCQUERY_EXTENSION Extension, PIRP Irp)
    {
        IoSkipCurrentIrpStackLocation(Irp);
        NTSTATUS status = IoCallDriver(Extension.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref Extension.RemoveLock), Irp);

        return status;
    }

    NTSTATUS SyncQueryDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PSYNCQUERY_EXTENSION)DeviceObject.DeviceExtension;
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return SyncQueryComplete(Irp, status, 0);
        }

        if (minor is IRP_MN_REMOVE_DEVICE or IRP_MN_SURPRISE_REMOVAL)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
        }

        if (minor != IRP_MN_REMOVE_DEVICE)
        {
            return SyncQueryForward(extension, Irp);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);

        IoReleaseRemoveLockAndWait(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        IoDetachDevice(extension.LowerDevice);
        IoDeleteDevice(DeviceObject);

        return status;
    }

    NTSTATUS SyncQueryComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }
}

/// <summary>What the filter learned; the output of <see cref="SyncQuery.IOCTL_SYNCQUERY_GET_RESULT"/>.</summary>
public struct SYNCQUERY_RESULT
{
    public NTSTATUS LengthStatus; // STATUS_DEVICE_NOT_READY until the filter has asked
    public NTSTATUS ReadStatus;
    public long Length;           // in bytes; valid if LengthStatus is a success
    public uint FirstBytesLength; // how much of FirstBytes was read
    public SECTOR FirstBytes;

    [InlineArray(512)]
    public struct SECTOR
    {
        byte element;
    }
}

[PointerTo(typeof(SYNCQUERY_RESULT))] readonly partial struct PSYNCQUERY_RESULT;

struct SYNCQUERY_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
    public IO_REMOVE_LOCK RemoveLock;
    public KMUTEX Lock; // guards Result and the queries that fill it
    public SYNCQUERY_RESULT Result;
    public int Queried;      // set after Length, read without the lock
    public long LengthLimit; // reads are clipped here; long.MaxValue if the length is unknown
}

[PointerTo(typeof(SYNCQUERY_EXTENSION))] readonly partial struct PSYNCQUERY_EXTENSION;
