using Irpwright.Kernel;
using Irpwright.Wdk;
using Microsoft.Win32.SafeHandles;

namespace Irpwright.Testing;

/// <summary>
/// A file of the host as a disk, driven the way a real disk is: dispatch routines queue, the hardware works on one request
/// at a time and interrupts, a DPC completes.
/// </summary>
/// <remarks>
/// A read-only file is a write-protected disk. Its size is the file's size at the start. A request can be cancelled until
/// the hardware has it.
/// </remarks>
/// <param name="path">Of an existing file; opened at once.</param>
/// <param name="name">Of the device object.</param>
/// <exception cref="IOException">The file cannot be opened.</exception>
/// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
public sealed class FileDisk(string path, string name = @"\Device\Disk0") : LowestDriver
{
    const byte DeviceIrql = 5;
    const uint SectorSize = 512;
    const uint SectorsPerTrack = 63;
    const uint TracksPerCylinder = 255;

    // IOException.HResult where the volume of the file is full.
    const int ErrorHandleDiskFull = unchecked((int)0x80070027);
    const int ErrorDiskFull = unchecked((int)0x80070070);

    readonly bool writable = !new FileInfo(path).IsReadOnly;
    readonly SafeFileHandle file = Open(path);
    readonly long length = new FileInfo(path).Length;

    PDEVICE_OBJECT device;
    Interrupt interrupt = null!;

    // What the controller's registers and its transfer buffer would hold; only the request in progress touches them.
    byte[] transferBuffer = [];
    NTSTATUS transferStatus;
    int transferred;

    /// <summary>Time that the hardware needs for a request; on the free-running scheduler, the least time.</summary>
    public TimeSpan Latency { get; init; } = TimeSpan.FromMicroseconds(100);

    /// <summary>Refuse requests that are not whole sectors of 512 bytes, as real disks do.</summary>
    public bool WholeSectors { get; init; }

    struct DEVICE_EXTENSION
    {
        public KSPIN_LOCK QueueLock; // guards the rest
        public LIST_ENTRY Pending;
        public PIRP Current; // what the hardware works on; null while it is idle
    }

    ref DEVICE_EXTENSION Extension => ref DeviceExtension<DEVICE_EXTENSION>(device);

    PKSPIN_LOCK QueueLock => PKSPIN_LOCK.To(ref Extension.QueueLock);

    PLIST_ENTRY Pending => PLIST_ENTRY.To(ref Extension.Pending);

    ref PIRP Current => ref Extension.Current;

    static SafeFileHandle Open(string path)
    {
        FileAccess access = new FileInfo(path).IsReadOnly ? FileAccess.Read : FileAccess.ReadWrite;
        return File.OpenHandle(path, FileMode.Open, access, FileShare.ReadWrite, FileOptions.Asynchronous);
    }

    public override unsafe NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = IoCreateDevice(
            DriverObject, (uint)sizeof(DEVICE_EXTENSION), RTL_CONSTANT_STRING(name), FILE_DEVICE_DISK, 0, false, out device);
        if (!status.IsSuccess) return status;
        device.Flags |= DO_DIRECT_IO;
        KeInitializeSpinLock(QueueLock);
        InitializeListHead(Pending);
        IoInitializeDpcRequest(device, DpcForIsr);
        interrupt = new Interrupt(name, DeviceIrql, InterruptService);
        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(DispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(DispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(DispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(DispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(DispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Routine(DispatchFlush);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(DispatchDeviceControl);
        AnswerAsBus(DriverObject);
        DriverObject.DriverUnload = Routine(Unload);
        return STATUS_SUCCESS;
    }

    void Unload(PDRIVER_OBJECT DriverObject)
    {
        IoDeleteDevice(device);
        file.Dispose();
    }

    NTSTATUS DispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp) => Complete(Irp, STATUS_SUCCESS, 0);

    NTSTATUS DispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        if (IsGone) return Complete(Irp, STATUS_DEVICE_REMOVED, 0);
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        long offset = stack.Parameters.Read.ByteOffset;
        uint count = stack.Parameters.Read.Length;
        if (offset < 0 || offset > length || count > length - offset) return Complete(Irp, STATUS_INVALID_PARAMETER, 0);
        if (WholeSectors && (offset | count) % SectorSize != 0) return Complete(Irp, STATUS_INVALID_PARAMETER, 0);
        if (stack.MajorFunction == IRP_MJ_WRITE && !writable) return Complete(Irp, STATUS_MEDIA_WRITE_PROTECTED, 0);
        if (count == 0) return Complete(Irp, STATUS_SUCCESS, 0);
        if (MmGetSystemAddressForMdlSafe(Irp.MdlAddress, NormalPagePriority).IsNull) return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
        return Queue(Irp);
    }

    NTSTATUS DispatchFlush(PDEVICE_OBJECT DeviceObject, PIRP Irp) => writable ? Queue(Irp) : Complete(Irp, STATUS_SUCCESS, 0);

    NTSTATUS DispatchDeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        uint room = stack.Parameters.DeviceIoControl.OutputBufferLength;
        PVOID buffer = Irp.AssociatedIrp.SystemBuffer;
        switch (stack.Parameters.DeviceIoControl.IoControlCode)
        {
            case IOCTL_DISK_GET_LENGTH_INFO:
                if (room < GET_LENGTH_INFORMATION.SizeOf) return Complete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
                new PGET_LENGTH_INFORMATION(buffer.Address).Length = length;
                return Complete(Irp, STATUS_SUCCESS, GET_LENGTH_INFORMATION.SizeOf);
            case IOCTL_DISK_GET_DRIVE_GEOMETRY:
                if (room < DISK_GEOMETRY.SizeOf) return Complete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
                PDISK_GEOMETRY geometry = new(buffer.Address);
                geometry.Cylinders = length / (SectorSize * SectorsPerTrack * TracksPerCylinder);
                geometry.MediaType = MEDIA_TYPE.FixedMedia;
                geometry.TracksPerCylinder = TracksPerCylinder;
                geometry.SectorsPerTrack = SectorsPerTrack;
                geometry.BytesPerSector = SectorSize;
                return Complete(Irp, STATUS_SUCCESS, DISK_GEOMETRY.SizeOf);
            case IOCTL_DISK_IS_WRITABLE:
                return Complete(Irp, writable ? STATUS_SUCCESS : STATUS_MEDIA_WRITE_PROTECTED, 0);
            default:
                return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
        }
    }

    NTSTATUS Complete(PIRP Irp, NTSTATUS status, ulong information)
    {
        Irp.IoStatus.Status = status;
        Irp.IoStatus.Information = information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }

    // ---- The queue.

    /// <summary>Gives the request to the hardware, or lets it wait until the hardware is free.</summary>
    NTSTATUS Queue(PIRP Irp)
    {
        KeAcquireSpinLock(QueueLock, out KIRQL irql);
        IoMarkIrpPending(Irp);
        bool start = Current.IsNull;
        bool cancelled = false;
        if (start)
        {
            Current = Irp;
        }
        else
        {
            InsertTailList(Pending, ListEntry(Irp));
            IoSetCancelRoutine(Irp, CancelQueued);
            // Cancelled before the routine was set: nobody will call it. Cancelled since: it waits for the lock.
            if (Irp.Cancel && !IoSetCancelRoutine(Irp, null).IsNull)
            {
                RemoveEntryList(ListEntry(Irp));
                cancelled = true;
            }
        }
        KeReleaseSpinLock(QueueLock, irql);

        if (start) StartHardware(Irp);
        else if (cancelled) Complete(Irp, STATUS_CANCELLED, 0);
        return STATUS_PENDING;
    }

    void CancelQueued(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        IoReleaseCancelSpinLock(Irp.CancelIrql);
        KeAcquireSpinLock(QueueLock, out KIRQL irql);
        RemoveEntryList(ListEntry(Irp));
        KeReleaseSpinLock(QueueLock, irql);
        Complete(Irp, STATUS_CANCELLED, 0);
    }

    /// <summary>Takes the next request that nobody has cancelled; the hardware is idle if there is none.</summary>
    PIRP Dequeue()
    {
        KeAcquireSpinLockAtDpcLevel(QueueLock);
        PIRP next = default;
        while (next.IsNull && !IsListEmpty(Pending))
        {
            PLIST_ENTRY entry = RemoveHeadList(Pending);
            next = (PIRP)CONTAINING_RECORD(entry, (ref IRP irp) => ref irp.Tail.Overlay.ListEntry);
            if (!IoSetCancelRoutine(next, null).IsNull) continue;
            // The cancel routine has it and is about to unlink it: from itself, then.
            InitializeListHead(entry);
            next = default;
        }
        Current = next;
        KeReleaseSpinLockFromDpcLevel(QueueLock);
        return next;
    }

    static PLIST_ENTRY ListEntry(PIRP Irp) => PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry);

    // ---- The hardware.

    void StartHardware(PIRP Irp)
    {
        PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
        byte major = stack.MajorFunction;
        long offset = stack.Parameters.Read.ByteOffset;
        int count = major == IRP_MJ_FLUSH_BUFFERS ? 0 : (int)stack.Parameters.Read.Length;
        if (transferBuffer.Length < count) transferBuffer = GC.AllocateUninitializedArray<byte>(count);
        Memory<byte> buffer = transferBuffer.AsMemory(0, count);
        if (major == IRP_MJ_WRITE) SystemBuffer(Irp, count).CopyTo(buffer.Span);
        Machine.Scheduler.StartDevice(Latency.Ticks, () => Transfer(major, offset, buffer), interrupt);
    }

    /// <summary>The controller's work. It reaches no guest memory, so that it may outlive the machine.</summary>
    async Task Transfer(byte major, long offset, Memory<byte> buffer)
    {
        transferred = 0;
        try
        {
            switch (major)
            {
                case IRP_MJ_READ:
                    for (int count; transferred < buffer.Length; transferred += count)
                    {
                        count = await RandomAccess.ReadAsync(file, buffer[transferred..], offset + transferred).ConfigureAwait(false);
                        if (count == 0) break;
                    }
                    break;
                case IRP_MJ_WRITE:
                    await RandomAccess.WriteAsync(file, buffer, offset).ConfigureAwait(false);
                    transferred = buffer.Length;
                    break;
                default:
                    RandomAccess.FlushToDisk(file);
                    break;
            }
            // The file became shorter since it was opened.
            transferStatus = transferred < buffer.Length ? STATUS_END_OF_FILE : STATUS_SUCCESS;
        }
        catch (IOException e)
        {
            transferStatus = e.HResult is ErrorHandleDiskFull or ErrorDiskFull ? STATUS_DISK_FULL : STATUS_IO_DEVICE_ERROR;
        }
        catch (UnauthorizedAccessException)
        {
            transferStatus = STATUS_MEDIA_WRITE_PROTECTED;
        }
    }

    void InterruptService() => IoRequestDpc(device, Current, default);

    void DpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        NTSTATUS status = transferStatus;
        int count = status.IsSuccess ? transferred : 0;
        if (count > 0 && IoGetCurrentIrpStackLocation(Irp).MajorFunction == IRP_MJ_READ)
            transferBuffer.AsSpan(0, count).CopyTo(SystemBuffer(Irp, count));
        PIRP next = Dequeue();
        if (!next.IsNull) StartHardware(next);
        Complete(Irp, status, (ulong)count);
    }

    Span<byte> SystemBuffer(PIRP Irp, int count) =>
        GuestMemory.Write(MmGetSystemAddressForMdlSafe(Irp.MdlAddress, NormalPagePriority).Address, count);
}
