namespace Irpwright.Samples;

/// <summary>Frees an IRP of its own twice. Twin of <c>broken-freeirp.c</c>.</summary>
/// <remarks>
/// When a file is closed, the filter flushes the device below with an IRP of its own, and waits. The completion routine notes the
/// result, frees the IRP, wakes the dispatch routine and stops the completion; the dispatch routine, which had allocated the IRP,
/// frees it too.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iofreeirp"/>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/creating-irps-for-lower-level-drivers"/>
public sealed class BrokenFreeIrp : Upper
{
    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        UpperInitialize(DriverObject, BrokenFreeIrpAddDevice);
        DriverObject.MajorFunction[IRP_MJ_CLEANUP] = Routine(BrokenFreeIrpDispatchCleanup);

        return STATUS_SUCCESS;
    }

    NTSTATUS BrokenFreeIrpAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        NTSTATUS status = UpperCreate(DriverObject, SizeOf<FREEIRP_EXTENSION>(), out PDEVICE_OBJECT deviceObject);

        return status.IsSuccess ? UpperAttach(deviceObject, PhysicalDeviceObject) : status;
    }

    // Called at PASSIVE_LEVEL in the closing thread: it may wait.
    NTSTATUS BrokenFreeIrpDispatchCleanup(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        var extension = (PFREEIRP_EXTENSION)DeviceObject.DeviceExtension;

        NTSTATUS status = IoAcquireRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);
        if (!status.IsSuccess)
        {
            return UpperComplete(Irp, status, 0);
        }

        status = BrokenFreeIrpFlush(extension.Upper.LowerDevice, IoGetCurrentIrpStackLocation(Irp).FileObject);
        if (!status.IsSuccess)
        {
            InterlockedIncrement(ref extension.Failures);
        }

        // A file can be closed whether or not its data could be saved.
        IoSkipCurrentIrpStackLocation(Irp);
        status = IoCallDriver(extension.Upper.LowerDevice, Irp);
        IoReleaseRemoveLock(PIO_REMOVE_LOCK.To(ref extension.Upper.RemoveLock), Irp);

        return status;
    }

    NTSTATUS BrokenFreeIrpFlush(PDEVICE_OBJECT LowerDevice, PFILE_OBJECT FileObject)
    {
        using LocalVariable<FLUSH_CONTEXT> context = Local<FLUSH_CONTEXT>();

        PIRP irp = IoAllocateIrp(LowerDevice.StackSize, false);
        if (irp.IsNull)
        {
            return STATUS_INSUFFICIENT_RESOURCES;
        }

        KeInitializeEvent(PKEVENT.To(ref context.Value.Done), NotificationEvent, false);
        PIO_STACK_LOCATION next = IoGetNextIrpStackLocation(irp);
        next.MajorFunction = IRP_MJ_FLUSH_BUFFERS;
        next.FileObject = FileObject;
        IoSetCompletionRoutine(irp, BrokenFreeIrpFlushDone, context.Address, true, true, true);

        IoCallDriver(LowerDevice, irp);
        KeWaitForSingleObject(PKEVENT.To(ref context.Value.Done), Executive, KernelMode, false, null);

        IoFreeIrp(irp); // BUG: the completion routine has freed it.

        return context.Value.Status;
    }

    NTSTATUS BrokenFreeIrpFlushDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        var context = (PFLUSH_CONTEXT)Context;

        context.Status = Irp.IoStatus.Status;
        IoFreeIrp(Irp);
        KeSetEvent(PKEVENT.To(ref context.Done), IO_NO_INCREMENT, false);

        return STATUS_MORE_PROCESSING_REQUIRED;
    }
}

struct FREEIRP_EXTENSION
{
    public UPPER_EXTENSION Upper;
    public int Failures;
}

[PointerTo(typeof(FREEIRP_EXTENSION))] readonly partial struct PFREEIRP_EXTENSION;

/// <summary>On the stack of the dispatch routine, which waits.</summary>
struct FLUSH_CONTEXT
{
    public KEVENT Done;
    public NTSTATUS Status;
}

[PointerTo(typeof(FLUSH_CONTEXT))] readonly partial struct PFLUSH_CONTEXT;
