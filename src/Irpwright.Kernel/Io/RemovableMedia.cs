using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How a driver of removable media tells the file system that the medium may have changed.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/supporting-removable-media"/>
public sealed class RemovableMedia
{
    readonly Machine machine;

    internal RemovableMedia(Machine machine) => this.machine = machine;

    /// <summary>Whether a user could mend what a status says. Any IRQL.</summary>
    [WdkInline]
    public static BOOLEAN IoIsErrorUserInduced(NTSTATUS Status) => Status is NTSTATUS.STATUS_DEVICE_NOT_READY or NTSTATUS.STATUS_IO_TIMEOUT
        or NTSTATUS.STATUS_MEDIA_WRITE_PROTECTED or NTSTATUS.STATUS_NO_MEDIA_IN_DEVICE or NTSTATUS.STATUS_VERIFY_REQUIRED
        or NTSTATUS.STATUS_UNRECOGNIZED_MEDIA or NTSTATUS.STATUS_WRONG_VOLUME;

    /// <summary>Notes, with the thread that sent an IRP, which device a medium is missing or changed in. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Irp">Its Tail.Overlay.Thread must not be NULL.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoSetHardErrorOrVerifyDevice(PIRP Irp, PDEVICE_OBJECT DeviceObject)
    {
        PKTHREAD thread = Irp.Tail.Overlay.Thread;
        if (thread.IsNull)
        {
            throw machine.BugChecks.Unhandled(NTSTATUS.STATUS_ACCESS_VIOLATION, 0, 0, 0,
                $"IoSetHardErrorOrVerifyDevice was called for the IRP at {Format.Address(Irp.Address)}, which belongs to no thread. A driver has to test Irp->Tail.Overlay.Thread first.");
        }
        IoSetDeviceToVerify(thread, DeviceObject);
    }

    /// <summary>The device that was noted with a thread; NULL if none was. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PDEVICE_OBJECT IoGetDeviceToVerify(PETHREAD Thread) => machine.Scheduler.FindThread(Thread)?.DeviceToVerify ?? default;

    /// <summary>Notes a device with a thread, or NULL when the medium has been dealt with. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoSetDeviceToVerify(PETHREAD Thread, PDEVICE_OBJECT DeviceObject)
    {
        // A thread that has ended will never ask.
        if (machine.Scheduler.FindThread(Thread) is { } thread) thread.DeviceToVerify = DeviceObject;
    }
}
