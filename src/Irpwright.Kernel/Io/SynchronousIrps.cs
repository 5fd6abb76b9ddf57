using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Sends an IRP down and waits until the drivers below are done with it.</summary>
public sealed class SynchronousIrps
{
    readonly Machine machine;
    readonly PIO_COMPLETION_ROUTINE signalWaiter;

    internal SynchronousIrps(Machine machine)
    {
        this.machine = machine;
        signalWaiter = machine.Code.Routine(new IO_COMPLETION_ROUTINE(SignalWaiter));
    }

    /// <summary>
    /// Forwards the caller's location, waits, and gives the IRP back uncompleted. IRQL &lt;= APC_LEVEL. (SYNC-01 to SYNC-03)
    /// </summary>
    /// <returns>FALSE, and nothing sent, when there is no stack location below; the outcome itself is in Irp->IoStatus.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public BOOLEAN IoForwardIrpSynchronously(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        if (Irp.CurrentLocation <= 1) return false;
        IrpStackLocations.IoCopyCurrentIrpStackLocationToNext(Irp);
        SendAndWait(DeviceObject, Irp);
        return true;
    }

    /// <summary>
    /// Sends an IRP whose next location the caller has prepared, waits, and returns the final status with the IRP
    /// uncompleted. IRQL &lt;= APC_LEVEL. (SYNC-04)
    /// </summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS IoSynchronousCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        SendAndWait(DeviceObject, Irp);
        return Irp.IoStatus.Status;
    }

    void SendAndWait(PDEVICE_OBJECT device, PIRP irp)
    {
        const uint tag = 0x6E795349; // "ISyn"
        PKEVENT done = new(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, KEVENT.SizeOf, tag, 0));
        machine.Dispatcher.KeInitializeEvent(done, EVENT_TYPE.NotificationEvent, false);
        IrpStackLocations.IoSetCompletionRoutine(irp, signalWaiter, done, true, true, true);
        if (machine.Dispatch.IoCallDriver(device, irp) == NTSTATUS.STATUS_PENDING)
            machine.Dispatcher.KeWaitForSingleObject(done, KWAIT_REASON.Executive, MODE.KernelMode, false, null);
        machine.Pool.Free(done.Address, tag);
    }

    NTSTATUS SignalWaiter(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        // Without PendingReturned the sender does not wait, and may have freed the event by now.
        if (Irp.PendingReturned) machine.Dispatcher.KeSetEvent((PKEVENT)Context, 0, false);
        return NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED;
    }
}
