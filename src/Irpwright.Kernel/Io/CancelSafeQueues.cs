using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Cancel-safe queues: the driver brings list and lock, the framework brings the cancel routine, and each IRP leaves the queue
/// exactly once.
/// </summary>
/// <remarks>
/// An IRP in a queue is one whose cancel routine is the framework's. Whoever exchanges that routine for NULL owns the IRP: a
/// remover does it under the queue's lock, IoCancelIrp without. Tail.Overlay.DriverContext[3] leads from the IRP to its queue,
/// through the driver's IO_CSQ_IRP_CONTEXT if it gave one (CSQ-03).
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-safe-irp-queues"/>
public sealed class CancelSafeQueues
{
    const int QueueSlot = 3;

    readonly Machine machine;
    readonly PDRIVER_CANCEL cancelRoutine;

    internal CancelSafeQueues(Machine machine)
    {
        this.machine = machine;
        cancelRoutine = machine.Code.Routine(new DRIVER_CANCEL(Cancel));
    }

    /// <summary>Prepares a queue from the driver's six routines (CSQ-01). Any IRQL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport]
    public NTSTATUS IoCsqInitialize(
        PIO_CSQ Csq, PIO_CSQ_INSERT_IRP CsqInsertIrp, PIO_CSQ_REMOVE_IRP CsqRemoveIrp, PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp,
        PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock, PIO_CSQ_RELEASE_LOCK CsqReleaseLock, PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp)
    {
        Csq.Value = new IO_CSQ
        {
            Type = IO_TYPE_CSQ,
            CsqInsertIrp = CsqInsertIrp,
            CsqRemoveIrp = CsqRemoveIrp,
            CsqPeekNextIrp = CsqPeekNextIrp,
            CsqAcquireLock = CsqAcquireLock,
            CsqReleaseLock = CsqReleaseLock,
            CsqCompleteCanceledIrp = CsqCompleteCanceledIrp,
        };
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Prepares a queue whose insertion takes a context and may refuse (CSQ-01). Any IRQL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport]
    public NTSTATUS IoCsqInitializeEx(
        PIO_CSQ Csq, PIO_CSQ_INSERT_IRP_EX CsqInsertIrp, PIO_CSQ_REMOVE_IRP CsqRemoveIrp, PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp,
        PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock, PIO_CSQ_RELEASE_LOCK CsqReleaseLock, PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp)
    {
        IoCsqInitialize(Csq, new PIO_CSQ_INSERT_IRP(CsqInsertIrp.Address), CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock, CsqReleaseLock, CsqCompleteCanceledIrp);
        Csq.Type = IO_TYPE_CSQ_EX;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Marks an IRP pending and puts it into a queue (CSQ-02). IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Context">Filled in, to take out this IRP with <see cref="IoCsqRemoveIrp"/>; may be NULL.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoCsqInsertIrp(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context) => IoCsqInsertIrpEx(Csq, Irp, Context, default);

    /// <summary>Marks an IRP pending and puts it into a queue (CSQ-02 to CSQ-05). IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Context">Filled in, to take out this IRP with <see cref="IoCsqRemoveIrp"/>; may be NULL.</param>
    /// <param name="InsertContext">For the insert routine of a queue made by <see cref="IoCsqInitializeEx"/>; others ignore it.</param>
    /// <returns>
    /// What that insert routine returned; after a failure the IRP is not pending and stays with the caller. STATUS_SUCCESS for
    /// other queues.
    /// </returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS IoCsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context, PVOID InsertContext)
    {
        byte irql = AcquireLock(Csq);
        PVOID found = QueueOf(Irp);
        if (Context.IsNull)
        {
            QueueOf(Irp) = Csq;
        }
        else
        {
            Context.Value = new IO_CSQ_IRP_CONTEXT { Type = IO_TYPE_CSQ_IRP_CONTEXT, Irp = Irp, Csq = Csq };
            QueueOf(Irp) = Context;
        }
        NTSTATUS status = NTSTATUS.STATUS_SUCCESS;
        if (Csq.Type == IO_TYPE_CSQ_EX)
        {
            status = machine.Code.Call(new PIO_CSQ_INSERT_IRP_EX(Csq.CsqInsertIrp.Address), Csq, Irp, InsertContext);
            if (status < 0)
            {
                if (!Context.IsNull) Context.Irp = default;
                QueueOf(Irp) = found;
                ReleaseLock(Csq, irql);
                return status;
            }
        }
        else
        {
            machine.Code.Call(Csq.CsqInsertIrp, Csq, Irp);
        }
        IrpStackLocations.IoMarkIrpPending(Irp);
        SchedulingPoint();
        IrpCancellation.Exchange(Irp, cancelRoutine);
        SchedulingPoint();
        // Cancelled before it could be: nobody called the routine, so it has to leave again (CSQ-05).
        bool cancelled = Irp.Cancel && TakeFromCancellation(Irp);
        if (cancelled) Remove(Csq, Irp);
        ReleaseLock(Csq, irql);
        if (cancelled) machine.Code.Call(Csq.CsqCompleteCanceledIrp, Csq, Irp);
        return status;
    }

    /// <summary>Takes a certain IRP out of a queue (CSQ-08). IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>NULL when it was taken out or cancelled before.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PIRP IoCsqRemoveIrp(PIO_CSQ Csq, PIO_CSQ_IRP_CONTEXT Context)
    {
        byte irql = AcquireLock(Csq);
        PIRP irp = Context.Irp;
        if (!irp.IsNull && TakeFromCancellation(irp)) Remove(Csq, irp);
        else irp = default;
        ReleaseLock(Csq, irql);
        return irp;
    }

    /// <summary>
    /// Takes the first IRP out of a queue that matches and that nobody is cancelling (CSQ-06, CSQ-07). IRQL &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <param name="PeekContext">For the driver's CsqPeekNextIrp, which decides what matches.</param>
    /// <returns>NULL when none is left.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PIRP IoCsqRemoveNextIrp(PIO_CSQ Csq, PVOID PeekContext)
    {
        byte irql = AcquireLock(Csq);
        PIRP irp = default;
        do irp = machine.Code.Call(Csq.CsqPeekNextIrp, Csq, irp, PeekContext);
        while (!irp.IsNull && !TakeFromCancellation(irp));
        if (!irp.IsNull) Remove(Csq, irp);
        ReleaseLock(Csq, irql);
        return irp;
    }

    /// <summary>The cancel routine of every IRP in a queue (CSQ-09).</summary>
    void Cancel(PDEVICE_OBJECT device, PIRP irp)
    {
        machine.Cancellation.IoReleaseCancelSpinLock(irp.CancelIrql);
        PVOID queue = QueueOf(irp);
        PIO_CSQ csq = IsContext(queue) ? new PIO_CSQ_IRP_CONTEXT(queue.Address).Csq : new PIO_CSQ(queue.Address);
        byte irql = AcquireLock(csq);
        Remove(csq, irp);
        ReleaseLock(csq, irql);
        machine.Code.Call(csq.CsqCompleteCanceledIrp, csq, irp);
    }

    /// <summary>Under the lock, for who owns the IRP.</summary>
    void Remove(PIO_CSQ csq, PIRP irp)
    {
        machine.Code.Call(csq.CsqRemoveIrp, csq, irp);
        PVOID queue = QueueOf(irp);
        if (IsContext(queue)) new PIO_CSQ_IRP_CONTEXT(queue.Address).Irp = default;
        QueueOf(irp) = default;
    }

    /// <summary>False when the cancel routine is called, or has been: it will take the lock and the IRP.</summary>
    bool TakeFromCancellation(PIRP irp)
    {
        SchedulingPoint();
        return !IrpCancellation.Exchange(irp, default).IsNull;
    }

    // Both structures begin with their type.
    static bool IsContext(PVOID queue) => new PIO_CSQ(queue.Address).Type == IO_TYPE_CSQ_IRP_CONTEXT;

    static ref PVOID QueueOf(PIRP irp) => ref irp.Tail.Overlay.DriverContext[QueueSlot];

    byte AcquireLock(PIO_CSQ csq)
    {
        KernelThread thread = machine.CurrentThread;
        PUCHAR irql = thread.PushCell();
        try
        {
            machine.Code.Call(csq.CsqAcquireLock, csq, irql);
            return irql.Value;
        }
        finally
        {
            thread.PopCell();
        }
    }

    void ReleaseLock(PIO_CSQ csq, byte irql) => machine.Code.Call(csq.CsqReleaseLock, csq, irql);

    // The exchanges of the cancel routine decide everything here: a strategy that explores must be able to come between them.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    void SchedulingPoint()
    {
        if (machine.Scheduler.SwitchesAtIrps) machine.Scheduler.Yield(machine.CurrentThread, Kernel.SchedulingPoint.Irp);
    }
}
