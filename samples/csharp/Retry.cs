namespace Irpwright.Samples;

/// <summary>
/// An upper filter that sends a failed READ or WRITE down again, up to <c>RETRY_LIMIT</c> times. Twin of <c>retry.c</c>.
/// </summary>
/// <remarks>
/// The IRP is reused, not copied. The dispatch routine marks it pending before it goes down and always returns STATUS_PENDING,
/// which leaves the completion routine free to start over: it restores the IRP as the dispatch routine first sent it, calls the
/// lower driver and stops the walk with STATUS_MORE_PROCESSING_REQUIRED. A retry may complete inside that very call, so the
/// routine nests up to RETRY_LIMIT deep and must not touch the IRP or its context afterwards.
/// <para>Pattern: "pend, then forward" (scenario 4) with a reused IRP.</para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/different-ways-of-handling-irps-cheat-sheet"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/implementing-an-iocompletion-routine"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks"/>
public sealed class Retry : WdmDriver
{
    const uint RETRY_TAG = 0x79727452; // 'yrtR'
    const uint RETRY_LIMIT = 3;

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        {
            DriverObject.MajorFunction[major] = Routine(RetryDispatchPassDown);
        }

        DriverObject.MajorFunction[IRP_MJ_READ] = Routine(RetryDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_WRITE] = Routine(RetryDispatchReadWrite);
        DriverObject.MajorFunction[IRP_MJ_PNP] = Routine(RetryDispatchPnp);
        DriverObject.DriverExtension.AddDevice = Routine(RetryAddDevice);
        DriverObject.DriverUnload = Routine(RetryUnload);

        return STATUS_SUCCESS;
    }

    NTSTATUS RetryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = IoCreateDevice(DriverObject, SizeOf<RETRY_EXTENSION>(), default, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
            false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        var extension = (PRETRY_EXTENSION)deviceObject.DeviceExtension;
        IoInitializeRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), RETRY_TAG, 0, 0);

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

    void RetryUnload(PDRIVER_OBJECT DriverObject)
    {
    }

    NTSTATUS RetryDispatchPassDown(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PRETRY_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return RetryComplete(Irp, status);
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);

        // The IRP may be gone; as a tag its address is only a number.
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        return status;
    }

    NTSTATUS RetryDispatchReadWrite(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PRETRY_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return RetryComplete(Irp, status);
        }

        var context = (PRETRY_CONTEXT)ExAllocatePoolZero(NonPagedPoolNx, SizeOf<RETRY_CONTEXT>(), RETRY_TAG);
        if (context.IsNull)
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            return RetryComplete(Irp, STATUS_INSUFFICIENT_RESOURCES);
        }

        context.Extension = extension;
        context.RetriesLeft = RETRY_LIMIT;

        // From here on the result belongs to the completion routine: what the lower driver returns no longer matters.
        IoMarkIrpPending(Irp);
        _ = RetrySend(Irp, context);

        return STATUS_PENDING;
    }

    NTSTATUS RetrySend(PIRP Irp, PRETRY_CONTEXT Context)
    {
        IoCopyCurrentIrpStackLocationToNext(Irp);
        IoSetCompletionRoutine(Irp, RetryDone, Context, true, true, true);

        return IoCallDriver(Context.Extension.LowerDevice, Irp);
    }

    NTSTATUS RetryDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var context = (PRETRY_CONTEXT)Context;
        PRETRY_EXTENSION extension = context.Extension;

        // A warning carries data and is an answer; a request its issuer has given up is not worth another try.
        if (Irp.IoStatus.Status.IsError && !Irp.Cancel && context.RetriesLeft != 0)
        {
            context.RetriesLeft--;

            Irp.IoStatus.Status = STATUS_SUCCESS;
            Irp.IoStatus.Information = 0;
            _ = RetrySend(Irp, context);

            return STATUS_MORE_PROCESSING_REQUIRED;
        }

        ExFreePoolWithTag(context, RETRY_TAG);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);

        // No IoMarkIrpPending: the dispatch routine's mark still stands in this driver's stack location.
        return STATUS_CONTINUE_COMPLETION;
    }

    NTSTATUS RetryDispatchPnp(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PRETRY_EXTENSION)DeviceObject.DeviceExtension;
        byte minor = IoGetCurrentIrpStackLocation(Irp).MinorFunction;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return RetryComplete(Irp, status);
        }

        if (minor is IRP_MN_REMOVE_DEVICE or IRP_MN_SURPRISE_REMOVAL)
        {
            Irp.IoStatus.Status = STATUS_SUCCESS;
        }

        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.LowerDevice, Irp);

        if (minor == IRP_MN_REMOVE_DEVICE)
        {
            // Waits until every request this driver still holds has come back.
            IoReleaseRemoveLockAndWait(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
            IoDetachDevice(extension.LowerDevice);
            IoDeleteDevice(DeviceObject);
        }
        else
        {
            IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.RemoveLock), Irp);
        }

        return status;
    }

    NTSTATUS RetryComplete(PIRP Irp, NTSTATUS Status)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }
}

struct RETRY_EXTENSION
{
    public PDEVICE_OBJECT LowerDevice;
    public IO_REMOVE_LOCK RemoveLock;
}

[PointerTo(typeof(RETRY_EXTENSION))] readonly partial struct PRETRY_EXTENSION;

/// <summary>One per READ or WRITE on its way; nonpaged, because completion routines run at up to DISPATCH_LEVEL.</summary>
struct RETRY_CONTEXT
{
    public PRETRY_EXTENSION Extension;
    public uint RetriesLeft;
}

[PointerTo(typeof(RETRY_CONTEXT))] readonly partial struct PRETRY_CONTEXT;
