namespace Irpwright.Samples;

/// <summary>Completes an IRP whose cancel routine is still set. Twin of <c>broken-cancelset.c</c>.</summary>
/// <remarks>
/// \Device\CancelSet0 (\DosDevices\CancelSet0) is a mailbox: a READ waits until a WRITE brings its bytes. Waiting reads can be
/// cancelled, and are when their file is closed. Insertion and cancelling are as they should be. WRITE takes a reader out of the list
/// under the lock and completes it, but leaves the cancel routine in it: a program that cancels in that moment gets its IRP completed
/// twice.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iosetcancelroutine"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-a-driver-supplied-spin-lock"/>
public sealed class BrokenCancelSet : Software
{
    const string CANCELSET_DEVICE_NAME = @"\Device\CancelSet0";
    const string CANCELSET_LINK_NAME = @"\DosDevices\CancelSet0";

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        NTSTATUS status = SoftwareCreate(DriverObject, RTL_CONSTANT_STRING(CANCELSET_DEVICE_NAME), RTL_CONSTANT_STRING(CANCELSET_LINK_NAME),
            SizeOf<CANCELSET_EXTENSION>(), out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PCANCELSET_EXTENSION)deviceObject.DeviceExtension;
        KeInitializeSpinLock(PKSPIN_LOCK.To(ref extension.Lock));
        InitializeListHead(PLIST_ENTRY.To(ref extension.Readers));

        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(BrokenCancelSetDispatchRead);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(BrokenCancelSetDispatchWrite);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(BrokenCancelSetDispatchCleanup);
        DriverObject.DriverUnload = Routine(BrokenCancelSetUnload);
        SoftwareReady(deviceObject);

        return STATUS_SUCCESS;
    }

    void BrokenCancelSetUnload(PDRIVER_OBJECT DriverObject) =>
        SoftwareDelete(DriverObject.DeviceObject, RTL_CONSTANT_STRING(CANCELSET_LINK_NAME));

    NTSTATUS BrokenCancelSetDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCANCELSET_EXTENSION)DeviceObject.DeviceExtension;

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);

        IoMarkIrpPending(Irp);
        InsertTailList(PLIST_ENTRY.To(ref extension.Readers), PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        IoSetCancelRoutine(Irp, BrokenCancelSetCancel);

        // Cancelled before the routine was set: nobody will call it. Cancelled since: it waits for the lock and will complete the IRP.
        bool cancelled = Irp.Cancel && !IoSetCancelRoutine(Irp, null).IsNull;
        if (cancelled)
        {
            RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        if (cancelled)
        {
            SoftwareComplete(Irp, STATUS_CANCELLED, 0);
        }

        return STATUS_PENDING;
    }

    NTSTATUS BrokenCancelSetDispatchWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCANCELSET_EXTENSION)DeviceObject.DeviceExtension;
        uint length = IoGetCurrentIrpStackLocation(Irp).Parameters.Write.Length;
        PIRP reader = BrokenCancelSetTake(extension);

        if (reader.IsNull)
        {
            return SoftwareComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
        }

        length = Math.Min(length, IoGetCurrentIrpStackLocation(reader).Parameters.Read.Length);
        if (length != 0)
        {
            RtlCopyMemory(reader.AssociatedIrp.SystemBuffer, Irp.AssociatedIrp.SystemBuffer, length);
        }

        SoftwareComplete(reader, STATUS_SUCCESS, length);

        return SoftwareComplete(Irp, STATUS_SUCCESS, length);
    }

    // The reader that has waited longest, for the caller to complete; null if none waits.
    PIRP BrokenCancelSetTake(PCANCELSET_EXTENSION Extension)
    {
        PLIST_ENTRY readers = PLIST_ENTRY.To(ref Extension.Readers);
        PIRP reader = default;

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref Extension.Lock), out KIRQL irql);

        while (reader.IsNull && !IsListEmpty(readers))
        {
            reader = (PIRP)CONTAINING_RECORD(RemoveHeadList(readers), (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            // BUG: out of the list, but not out of reach of the cancel routine.
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref Extension.Lock), irql);

        return reader;
    }

    void BrokenCancelSetCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCANCELSET_EXTENSION)DeviceObject.DeviceExtension;

        IoReleaseCancelSpinLock(Irp.CancelIrql);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);
        RemoveEntryList(PLIST_ENTRY.To(ref Irp.Tail.Overlay.ListEntry));
        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        SoftwareComplete(Irp, STATUS_CANCELLED, 0);
    }

    NTSTATUS BrokenCancelSetDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PCANCELSET_EXTENSION)DeviceObject.DeviceExtension;
        PFILE_OBJECT fileObject = IoGetCurrentIrpStackLocation(Irp).FileObject;
        using LocalVariable<LIST_ENTRY> list = Local<LIST_ENTRY>();
        PLIST_ENTRY cancelled = PLIST_ENTRY.To(ref list.Value);
        PLIST_ENTRY entry;
        PLIST_ENTRY next;

        InitializeListHead(cancelled);

        KeAcquireSpinLock(PKSPIN_LOCK.To(ref extension.Lock), out KIRQL irql);

        for (entry = extension.Readers.Flink; entry != PLIST_ENTRY.To(ref extension.Readers); entry = next)
        {
            var reader = (PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry);

            next = entry.Flink;

            if (IoGetCurrentIrpStackLocation(reader).FileObject == fileObject && !IoSetCancelRoutine(reader, null).IsNull)
            {
                RemoveEntryList(entry);
                InsertTailList(cancelled, entry);
            }
        }

        KeReleaseSpinLock(PKSPIN_LOCK.To(ref extension.Lock), irql);

        while (!IsListEmpty(cancelled))
        {
            entry = RemoveHeadList(cancelled);
            SoftwareComplete((PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry), STATUS_CANCELLED, 0);
        }

        return SoftwareComplete(Irp, STATUS_SUCCESS, 0);
    }
}

struct CANCELSET_EXTENSION
{
    public KSPIN_LOCK Lock; // guards Readers
    public LIST_ENTRY Readers;
}

[PointerTo(typeof(CANCELSET_EXTENSION))] readonly partial struct PCANCELSET_EXTENSION;
