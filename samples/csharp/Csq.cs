namespace Irpwright.Samples;

/// <summary>
/// A software device that answers reads from writes: a READ waits in a cancel-safe queue until a WRITE brings its bytes. Twin of
/// <c>csq.c</c>.
/// </summary>
/// <remarks>
/// \Device\Csq0 (\DosDevices\Csq0), buffered I/O. A WRITE completes the READ that has waited longest, with as many bytes as both have
/// room for; without one it fails with STATUS_DEVICE_NOT_READY. At most CSQ_LIMIT reads wait; one more fails with STATUS_DEVICE_BUSY.
/// A waiting READ can be cancelled, and closing a handle cancels what that handle still has in the queue.
/// <para>
/// The driver has no cancel routine, and takes no lock but in the two routines whose business that is: the framework calls all of them
/// in the right order, and gives each IRP either to whoever removes it or to CsqCompleteCanceledIrp, never to both.
/// </para>
/// <para>Pattern: "Cancel-Safe IRP Queues".</para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-safe-irp-queues"/>
public sealed class Csq : WdmDriver
{
    const string CSQ_DEVICE_NAME = @"\Device\Csq0";
    const string CSQ_LINK_NAME = @"\DosDevices\Csq0";
    const int CSQ_LIMIT = 4;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        PUNICODE_STRING deviceName = RTL_CONSTANT_STRING(CSQ_DEVICE_NAME);
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(CSQ_LINK_NAME);

        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<CSQ_EXTENSION>(), deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PCSQ_EXTENSION)deviceObject.DeviceExtension;
        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.Lock));
        InitializeListHead(PLIST_ENTRY.To(ref extension.Pending));

        status = IoCsqInitializeEx(PIO_CSQ.To(ref extension.Queue), CsqInsertIrpEx, CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock,
            CsqReleaseLock, CsqCompleteCanceledIrp);
        if (status.IsSuccess)
        {
            status = IoCreateSymbolicLink(linkName, deviceName);
        }

        if (!status.IsSuccess)
        {
            IoDeleteDevice(deviceObject);
            return status;
        }

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(CsqDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(CsqDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(CsqDispatchCleanup);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(CsqDispatchRead);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(CsqDispatchWrite);
        DriverObject.DriverUnload = Routine(CsqUnload);

        deviceObject.Flags |= DO_BUFFERED_IO;
        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void CsqUnload(PDRIVER_OBJECT DriverObject)
    {
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(CSQ_LINK_NAME);

        IoDeleteSymbolicLink(linkName);
        IoDeleteDevice(DriverObject.DeviceObject);
    }

    NTSTATUS CsqDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp) => CsqComplete(Irp, STATUS_SUCCESS, 0);

    NTSTATUS CsqDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCSQ_EXTENSION)DeviceObject.DeviceExtension;

        if (IoGetCurrentIrpStackLocation(Irp).Parameters.Read.Length == 0)
        {
            return CsqComplete(Irp, STATUS_SUCCESS, 0);
        }

        // Marks the IRP pending unless CsqInsertIrpEx refuses it. Once it is in the queue it may be gone before this returns.
        NTSTATUS status = IoCsqInsertIrpEx(PIO_CSQ.To(ref extension.Queue), Irp, default, default);
        if (!status.IsSuccess)
        {
            return CsqComplete(Irp, status, 0);
        }

        return STATUS_PENDING;
    }

    NTSTATUS CsqDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCSQ_EXTENSION)DeviceObject.DeviceExtension;
        uint length = IoGetCurrentIrpStackLocation(Irp).Parameters.Write.Length;

        if (length == 0)
        {
            return CsqComplete(Irp, STATUS_SUCCESS, 0);
        }

        PIRP reader = IoCsqRemoveNextIrp(PIO_CSQ.To(ref extension.Queue), default);
        if (reader.IsNull)
        {
            return CsqComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
        }

        length = Math.Min(length, IoGetCurrentIrpStackLocation(reader).Parameters.Read.Length);
        RtlCopyMemory(reader.AssociatedIrp.SystemBuffer, Irp.AssociatedIrp.SystemBuffer, length);
        CsqComplete(reader, STATUS_SUCCESS, length);

        return CsqComplete(Irp, STATUS_SUCCESS, length);
    }

    NTSTATUS CsqDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCSQ_EXTENSION)DeviceObject.DeviceExtension;
        PFILE_OBJECT fileObject = IoGetCurrentIrpStackLocation(Irp).FileObject;

        while (IoCsqRemoveNextIrp(PIO_CSQ.To(ref extension.Queue), fileObject) is { IsNull: false } reader)
        {
            CsqComplete(reader, STATUS_CANCELLED, 0);
        }

        return CsqComplete(Irp, STATUS_SUCCESS, 0);
    }

    NTSTATUS CsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PVOID InsertContext)
    {
        var extension = (PCSQ_EXTENSION)CONTAINING_RECORD(Csq, (ref CSQ_EXTENSION record) => ref record.Queue);

        if (extension.Count == CSQ_LIMIT)
        {
            return STATUS_DEVICE_BUSY;
        }

        InsertTailList(PLIST_ENTRY.To(ref extension.Pending), PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        extension.Count++;

        return STATUS_SUCCESS;
    }

    void CsqRemoveIrp(PIO_CSQ Csq, PIRP Irp)
    {
        var extension = (PCSQ_EXTENSION)CONTAINING_RECORD(Csq, (ref CSQ_EXTENSION record) => ref record.Queue);

        RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        extension.Count--;
    }

    // The first IRP behind the given one, or from the start; with a context, only those of that file object.
    PIRP CsqPeekNextIrp(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext)
    {
        var extension = (PCSQ_EXTENSION)CONTAINING_RECORD(Csq, (ref CSQ_EXTENSION record) => ref record.Queue);
        PLIST_ENTRY entry = Irp.IsNull ? extension.Pending.Flink : Irp.Tail.Overlay.ListEntry.Flink;

        for (; entry != PLIST_ENTRY.To(ref extension.Pending); entry = entry.Flink)
        {
            var next = (PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            if (PeekContext.IsNull || IoGetCurrentIrpStackLocation(next).FileObject == PeekContext)
            {
                return next;
            }
        }

        return default;
    }

    void CsqAcquireLock(PIO_CSQ Csq, PUCHAR Irql)
    {
        var extension = (PCSQ_EXTENSION)CONTAINING_RECORD(Csq, (ref CSQ_EXTENSION record) => ref record.Queue);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out Irql.Value);
    }

    void CsqReleaseLock(PIO_CSQ Csq, KIRQL Irql)
    {
        var extension = (PCSQ_EXTENSION)CONTAINING_RECORD(Csq, (ref CSQ_EXTENSION record) => ref record.Queue);

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), Irql);
    }

    void CsqCompleteCanceledIrp(PIO_CSQ Csq, PIRP Irp) => CsqComplete(Irp, STATUS_CANCELLED, 0);

    NTSTATUS CsqComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }
}

struct CSQ_EXTENSION
{
    public IO_CSQ Queue;
    public KSPIN_LOCK Lock; // guards Pending and Count
    public LIST_ENTRY Pending;
    public uint Count;
}

[PointerTo(typeof(CSQ_EXTENSION))] readonly partial struct PCSQ_EXTENSION;
