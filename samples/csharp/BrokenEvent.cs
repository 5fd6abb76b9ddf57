namespace Irpwright.Samples;

/// <summary>
/// Wakes the dispatch routine that waits for an IRP, and lets the IRP go on being completed. Twin of <c>broken-event.c</c>.
/// </summary>
/// <remarks>
/// The filter prepares its device when the drivers below have started theirs. So it sends IRP_MN_START_DEVICE down, waits for an
/// event, goes on with the IRP in hand and completes it. That only works if the completion routine, which sets the event, also stops
/// the completion with STATUS_MORE_PROCESSING_REQUIRED. This one returns STATUS_SUCCESS, which is STATUS_CONTINUE_COMPLETION.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/postponing-pnp-irp-processing-until-lower-drivers-finish"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet"/>
public sealed class BrokenEvent : Upper
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenEventAddDevice);
        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(BrokenEventDispatchRead);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(BrokenEventDispatchPnp);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenEventAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<EVENT_EXTENSION>(), out PDEVICE_OBJECT deviceObject);

        return status.IsSuccess ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
    }

    // Nothing to read before the device is started.
    NTSTATUS BrokenEventDispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PEVENT_EXTENSION)DeviceObject.DeviceExtension;

        return extension.Started != 0 ? UpperDispatchPassDown(DeviceObject, Irp) : UpperComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }

    NTSTATUS BrokenEventDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PEVENT_EXTENSION)DeviceObject.DeviceExtension;

        if (IoGetCurrentIrpStackLocation(Irp).MinorFunction != IRP_MN_START_DEVICE)
        {
            return UpperDispatchPnp(DeviceObject, Irp);
        }

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        status = BrokenEventForwardAndWait(extension.Upper.LowerDevice, Irp);
        if (status.IsSuccess)
        {
            KeQuerySystemTime(out LARGE_INTEGER now);
            extension.StartTime = now;
            InterlockedExchange(ref extension.Started, 1);
        }

        UpperComplete(Irp, status, 0);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return status;
    }

    NTSTATUS BrokenEventForwardAndWait(PDEVICE_OBJECT LowerDevice, PIRP Irp)
    {
        using LocalVariable<KEVENT> @event = Local<KEVENT>();

        KeInitializeEvent(PKEVENT.To(ref @event.Value), NotificationEvent, false);
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, BrokenEventStartDone, @event.Address, true, true, true);

        NTSTATUS status = IoCallDriver(LowerDevice, Irp);
        if (status == STATUS_PENDING)
        {
            KeWaitForSingleObject(@event.Address, Executive, KernelMode, false, null);
            status = Irp.IoStatus.Status;
        }

        return status;
    }

    NTSTATUS BrokenEventStartDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        KeSetEvent((PKEVENT)Context, IO_NO_INCREMENT, false);

        return STATUS_SUCCESS; // BUG: the IRP is completed for good before the dispatch routine is done with it.
    }
}

struct EVENT_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public LARGE_INTEGER StartTime;
    public int Started;
}

[PointerTo(typeof(EVENT_EXTENSION))] readonly partial struct PEVENT_EXTENSION;
