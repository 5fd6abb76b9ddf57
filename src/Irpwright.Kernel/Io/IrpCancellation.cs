using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Cancels IRPs under the system's one cancel spin lock.</summary>
public sealed class IrpCancellation
{
    const uint Tag = 0x6C636E43; // "Cncl"

    readonly Machine machine;
    readonly PKSPIN_LOCK cancelLock;

    internal IrpCancellation(Machine machine)
    {
        this.machine = machine;
        cancelLock = new PKSPIN_LOCK(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, 8, Tag, 0));
        machine.SpinLocks.KeInitializeSpinLock(cancelLock);
    }

    /// <summary>The system's cancel spin lock.</summary>
    public PKSPIN_LOCK SpinLock => cancelLock;

    /// <summary>Sets or clears the cancel routine in one atomic exchange; returns the previous one. (CANCEL-01)</summary>
    [WdkInline]
    public PDRIVER_CANCEL IoSetCancelRoutine(PIRP Irp, PDRIVER_CANCEL CancelRoutine)
    {
        machine.Scheduler.BeforeInterlocked();
        return Exchange(Irp, CancelRoutine);
    }

    /// <summary>The same where a switch has been possible just before.</summary>
    internal static PDRIVER_CANCEL Exchange(PIRP irp, PDRIVER_CANCEL routine) =>
        new(Interlocked.Exchange(ref GuestMemory.Ref<ulong>(irp.Address + 0x68), routine.Address));

    /// <summary>Acquires the cancel spin lock. IRQL &lt;= DISPATCH_LEVEL. (CANCEL-11)</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void IoAcquireCancelSpinLock(out byte Irql) => Irql = machine.SpinLocks.KeAcquireSpinLockRaiseToDpc(cancelLock);

    /// <summary>Releases the cancel spin lock and returns to the IRQL given. IRQL = DISPATCH_LEVEL.</summary>
    [KernelExport(MinIrql = DISPATCH_LEVEL, MaxIrql = DISPATCH_LEVEL)]
    public void IoReleaseCancelSpinLock(byte Irql) => machine.SpinLocks.KeReleaseSpinLock(cancelLock, Irql);

    /// <summary>
    /// Sets the Cancel flag and calls the cancel routine, if one is set; that routine releases the cancel spin lock.
    /// IRQL &lt;= DISPATCH_LEVEL. (CANCEL-02 to CANCEL-10)
    /// </summary>
    /// <returns>TRUE if a cancel routine was called. The IRP may still end with any status.</returns>
    /// <exception cref="BugCheckException">0x48 when a completed packet still has a cancel routine (CANCEL-08).</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN IoCancelIrp(PIRP Irp)
    {
        KernelThread thread = machine.CurrentThread;
        if (machine.Scheduler.SwitchesAtIrps) machine.Scheduler.Yield(thread, SchedulingPoint.Irp);
        IoAcquireCancelSpinLock(out byte irql);
        Irp.Cancel = true;
        PDRIVER_CANCEL routine = Exchange(Irp, default);
        if (routine.IsNull)
        {
            machine.Events.Emit(new IrpCancelled(Irp, default, routine));
            IoReleaseCancelSpinLock(irql);
            return false;
        }
        if (Irp.CurrentLocation > Irp.StackCount + 1)
        {
            throw machine.BugChecks.Stop(BugCheckCode.CANCEL_STATE_IN_COMPLETED_IRP, Irp.Address, routine.Address, 0, 0,
                $"The IRP at {Format.Address(Irp.Address)} is cancelled after it was completed, and still has a cancel routine: its driver completed it without IoSetCancelRoutine(Irp, NULL).");
        }
        PDEVICE_OBJECT device = Irp.CurrentLocation <= Irp.StackCount ? Irp.Tail.Overlay.CurrentStackLocation.DeviceObject : default;
        CallWithLock(routine, device, Irp, irql);
        return true;
    }

    /// <summary>Calls a cancel routine that was taken out of its IRP; the caller holds the cancel spin lock, the routine releases it.</summary>
    /// <param name="irql">To return to when the lock is released.</param>
    internal void CallWithLock(PDRIVER_CANCEL routine, PDEVICE_OBJECT device, PIRP irp, byte irql)
    {
        irp.CancelIrql = irql;
        machine.Events.Emit(new IrpCancelled(irp, device, routine));
        machine.Code.Call(routine, device, irp);
        machine.Events.Emit(new CancelRoutineReturned(irp, routine));
        if (GuestMemory.Ref<ulong>(cancelLock.Address) == (machine.CurrentThread.Object.Address | 1)) KeptTheLock(routine);
    }

    /// <summary>CANCEL-03: nobody else would ever release it.</summary>
    void KeptTheLock(PDRIVER_CANCEL routine) =>
        throw machine.BugChecks.Stop(BugCheckCode.DRIVER_VERIFIER_IOMANAGER_VIOLATION, 0xB, routine.Address, 0, 0,
            $"The cancel routine at {Format.Address(routine.Address)} returned without releasing the cancel spin lock (IoReleaseCancelSpinLock(Irp->CancelIrql)).");

    /// <summary>What happens to the IRPs of a thread that ends: cancelled, then waited for (CANCEL-15).</summary>
    internal void CancelThreadIrps(KernelThread thread)
    {
        machine.Apcs.Deliver(thread);
        PLIST_ENTRY list = thread.IrpList;
        if (machine.Outstanding.Cancel([list], irp => !irp.Cancel) == 0 && machine.Outstanding.IsEmpty(list)) return;
        machine.Dispatcher.WaitUntil(thread, () => machine.Outstanding.IsEmpty(list), "ends, but has requests that were cancelled and never completed");
    }

    /// <summary>NtCancelIoFile, CancelIo: the calling thread's requests on a file. Does not wait for their end. (CANCEL-16)</summary>
    public void CancelThreadRequests(PFILE_OBJECT file)
    {
        KernelThread thread = machine.CurrentThread;
        Cancel([thread.IrpList, FileObjects.IrpListOf(file)], irp => irp.Tail.Overlay.OriginalFileObject == file && irp.Tail.Overlay.Thread == thread.Object);
    }

    /// <summary>NtCancelIoFileEx, CancelIoEx: requests on a file, whoever sent them. Does not wait for their end. (CANCEL-16)</summary>
    /// <param name="iosb">Only the request with this status block; null for all.</param>
    /// <returns>STATUS_NOT_FOUND when there is none.</returns>
    public NTSTATUS CancelRequests(PFILE_OBJECT file, PIO_STATUS_BLOCK iosb = default)
    {
        using ReferencedThreads threads = machine.Scheduler.ReferenceThreads();
        return Cancel([.. threads.All.Select(thread => thread.IrpList), FileObjects.IrpListOf(file)],
            irp => irp.Tail.Overlay.OriginalFileObject == file && (iosb.IsNull || irp.UserIosb == iosb));
    }

    /// <summary>NtCancelSynchronousIoFile, CancelSynchronousIo: what another thread waits for inside a system service.</summary>
    /// <returns>STATUS_NOT_FOUND when it waits for no request.</returns>
    public NTSTATUS CancelSynchronousRequests(KernelThread thread)
    {
        using ReferencedThreads threads = machine.Scheduler.ReferenceThreads();
        return threads.All.Contains(thread) ? Cancel([thread.IrpList], IsSynchronous) : NTSTATUS.STATUS_NOT_FOUND;
    }

    static bool IsSynchronous(PIRP irp)
    {
        PFILE_OBJECT file = irp.Tail.Overlay.OriginalFileObject;
        // Closing is not to be cancelled: whoever closes cannot try again.
        if ((irp.Flags & IRP_CLOSE_OPERATION) != 0) return false;
        return !file.IsNull && ((irp.Flags & IRP_SYNCHRONOUS_API) != 0 || (file.Flags & FO_SYNCHRONOUS_IO) != 0);
    }

    NTSTATUS Cancel(PLIST_ENTRY[] lists, Func<PIRP, bool> wanted)
    {
        using SystemCall call = machine.CurrentThread.Enter();
        try
        {
            return machine.Outstanding.Cancel(lists, wanted) > 0 ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_NOT_FOUND;
        }
        catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
        {
            throw stop;
        }
    }
}
