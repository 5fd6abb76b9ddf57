using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Completes IRPs: climbs the stack locations, calls the completion routines, then finishes for the originator.</summary>
public sealed class IrpCompletion
{
    const uint RegistrationTag = 0x736E5355; // "USns"

    readonly Machine machine;
    readonly PIO_COMPLETION_ROUTINE unloadSafeCompletion;

    internal IrpCompletion(Machine machine)
    {
        this.machine = machine;
        unloadSafeCompletion = machine.Code.Routine(new IO_COMPLETION_ROUTINE(UnloadSafeCompletion));
    }

    /// <summary>
    /// The caller is done with the IRP: every driver above that registered an IoCompletion routine for this outcome has it
    /// called, lowest first, until one returns STATUS_MORE_PROCESSING_REQUIRED. IRQL &lt;= DISPATCH_LEVEL. (CMP-01 to CMP-26)
    /// </summary>
    /// <param name="PriorityBoost">Priority increment of the waiting thread; carried along, without effect on the walk.</param>
    /// <exception cref="BugCheckException">0x44 when the packet was completed before, or is no IRP (CMP-02).</exception>
    [KernelExport("IofCompleteRequest", MaxIrql = DISPATCH_LEVEL)]
    public void IoCompleteRequest(PIRP Irp, sbyte PriorityBoost)
    {
        if (KernelThread.IsStackSpent) throw machine.BugChecks.KernelStackOverflow(0);
        ref IRP irp = ref Irp.Value;
        if (irp.CurrentLocation > irp.StackCount + 1 || irp.Type != IO_TYPE_IRP) CompletedBefore(Irp);
        bool observed = machine.Events.Observer is not null || machine.Scheduler.SwitchesAtIrps;
        if (observed) CompletionBegins(Irp, PriorityBoost);
        if (Walk(Irp, ref irp, observed)) FinishOriginator(Irp, PriorityBoost);
        if (observed) machine.Events.Emit(new IrpCompletionReturned(Irp));
    }

    /// <returns>False when a routine kept the IRP; it must not be touched any more then (CMP-15).</returns>
    bool Walk(PIRP irpHandle, ref IRP irp, bool observed)
    {
        while (irp.CurrentLocation <= irp.StackCount)
        {
            ref IO_STACK_LOCATION left = ref irp.Tail.Overlay.CurrentStackLocation.Value;
            bool reachedDriver = Advance(ref irp);
            SL_CONTROL control = left.Control;
            bool pending = (control & SL_PENDING_RETURNED) != 0;
            irp.PendingReturned = pending;
            if (MustInvoke(control, in irp))
            {
                PIO_COMPLETION_ROUTINE routine = left.CompletionRoutine;
                PVOID context = left.Context;
                Clear(ref left);
                PDEVICE_OBJECT device = reachedDriver ? irp.Tail.Overlay.CurrentStackLocation.DeviceObject : default;
                NTSTATUS answer = observed ? CallObserved(routine, device, irpHandle, context) : machine.Code.Call(routine, device, irpHandle, context);
                if (answer == NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED) return false;
            }
            else
            {
                if (pending && reachedDriver) irp.Tail.Overlay.CurrentStackLocation.Control |= SL_PENDING_RETURNED;
                Clear(ref left);
            }
        }
        // One past "completed": completing the packet again is recognised by it (CMP-24).
        Advance(ref irp);
        return true;
    }

    /// <summary>Moves to the next-higher location; false when there is none: the originator's side is reached.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool Advance(ref IRP irp)
    {
        irp.CurrentLocation++;
        irp.Tail.Overlay.CurrentStackLocation = new(irp.Tail.Overlay.CurrentStackLocation.Address + IO_STACK_LOCATION.SizeOf);
        return irp.CurrentLocation <= irp.StackCount;
    }

    /// <summary>CMP-06: the status is looked at afresh for every location, as routines may change it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool MustInvoke(SL_CONTROL control, in IRP irp)
    {
        SL_CONTROL wanted = irp.IoStatus.Status >= 0 ? SL_INVOKE_ON_SUCCESS : SL_INVOKE_ON_ERROR;
        if (irp.Cancel) wanted |= SL_INVOKE_ON_CANCEL;
        return (control & wanted) != 0;
    }

    /// <summary>STK-11: parameters and flags go; MajorFunction, DeviceObject, routine and context stay.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Clear(ref IO_STACK_LOCATION location)
    {
        location.MinorFunction = 0;
        location.Flags = 0;
        location.Control = 0;
        ref ulong parameters = ref Unsafe.As<IO_STACK_LOCATION, ulong>(ref location);
        for (int i = 1; i <= 4; i++) Unsafe.Add(ref parameters, i) = 0;
        location.FileObject = default;
    }

    /// <summary>What IoSetCompletionRoutineEx keeps until the routine has run.</summary>
    struct Registration
    {
        internal PDEVICE_OBJECT Device;
        internal PIO_COMPLETION_ROUTINE Routine;
        internal PVOID Context;
    }

    /// <summary>
    /// Registers a completion routine whose driver stays loaded while the routine runs. IRQL &lt;= DISPATCH_LEVEL. (REG-11 to REG-13)
    /// </summary>
    /// <param name="DeviceObject">Of the registering driver; referenced while the routine runs.</param>
    /// <returns>STATUS_INSUFFICIENT_RESOURCES, and nothing is registered, when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS IoSetCompletionRoutineEx(
        PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE CompletionRoutine, PVOID Context, BOOLEAN InvokeOnSuccess, BOOLEAN InvokeOnError, BOOLEAN InvokeOnCancel, [Caller] ulong caller = 0)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, (ulong)Unsafe.SizeOf<Registration>(), RegistrationTag, caller);
        if (block == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        GuestMemory.Ref<Registration>(block) = new Registration { Device = DeviceObject, Routine = CompletionRoutine, Context = Context };
        IrpStackLocations.IoSetCompletionRoutine(Irp, unloadSafeCompletion, new PVOID(block), InvokeOnSuccess, InvokeOnError, InvokeOnCancel);
        return NTSTATUS.STATUS_SUCCESS;
    }

    NTSTATUS UnloadSafeCompletion(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
    {
        Registration registration = GuestMemory.Ref<Registration>(Context.Address);
        machine.Pool.Free(Context.Address, RegistrationTag);
        machine.Objects.ObfReferenceObject(registration.Device);
        NTSTATUS answer = machine.Code.Call(registration.Routine, DeviceObject, Irp, registration.Context);
        machine.Objects.ObfDereferenceObject(registration.Device);
        return answer;
    }

    void CompletionBegins(PIRP irp, sbyte priorityBoost)
    {
        if (machine.Scheduler.SwitchesAtIrps) machine.Scheduler.Yield(machine.CurrentThread, SchedulingPoint.Irp);
        machine.Events.Emit(new IrpCompleting(irp, irp.IoStatus.Status, irp.IoStatus.Information, priorityBoost));
    }

    NTSTATUS CallObserved(PIO_COMPLETION_ROUTINE routine, PDEVICE_OBJECT device, PIRP irp, PVOID context)
    {
        machine.Events.Emit(new CompletionRoutineCalled(irp, device, routine, context));
        NTSTATUS answer = machine.Code.Call(routine, device, irp, context);
        machine.Events.Emit(new CompletionRoutineReturned(irp, device, routine, answer));
        return answer;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    void CompletedBefore(PIRP irp) =>
        throw machine.BugChecks.Stop(BugCheckCode.MULTIPLE_IRP_COMPLETE_REQUESTS, irp.Address, 0, 0, 0,
            $"IoCompleteRequest was called for the packet at {Format.Address(irp.Address)}, which has been completed before or is no IRP any more. Two drivers think that they own it.");

    // ---- The originator's side. Part A: in the completing context, at its IRQL (COMPLETE-FINAL-01).

    void FinishOriginator(PIRP Irp, sbyte priorityBoost)
    {
        ref IRP irp = ref Irp.Value;
        machine.Events.Emit(new IrpCompleted(Irp, irp.IoStatus.Status, irp.IoStatus.Information));
        if ((irp.Flags & IRP_ASSOCIATED_IRP) != 0)
        {
            FinishAssociated(Irp, priorityBoost);
            return;
        }
        if ((irp.Flags & IRP_CLOSE_OPERATION) != 0 || IsSynchronousPaging(in irp))
        {
            FinishWithoutApc(Irp);
            return;
        }
        UnlockMdls(Irp);
        if ((irp.Flags & IRP_DEFER_IO_COMPLETION) != 0 && !irp.PendingReturned) return;
        if (irp.Tail.Overlay.Thread.IsNull) NobodyToFinish(Irp);
        if (machine.Scheduler.FindThread(irp.Tail.Overlay.Thread) is { } thread) machine.Dispatcher.QueueApc(thread, Irp);
        else Drop(Irp);
    }

    /// <summary>Its thread has ended: nobody is left to deliver to.</summary>
    void Drop(PIRP irp)
    {
        FreeBuffers(irp);
        Release(irp, null);
    }

    static bool IsSynchronousPaging(in IRP irp) =>
        (irp.Flags & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO)) == (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO);

    /// <summary>ASSOC-03: the last associated IRP completes its master.</summary>
    void FinishAssociated(PIRP irp, sbyte priorityBoost)
    {
        PIRP master = irp.AssociatedIrp.MasterIrp;
        int remaining = Interlocked.Decrement(ref master.AssociatedIrp.IrpCount);
        UnlockMdls(irp);
        FreeMdls(irp);
        machine.Irps.IoFreeIrp(irp);
        if (remaining == 0) IoCompleteRequest(master, priorityBoost);
    }

    /// <summary>COMPLETE-FINAL-04: cleanup, close and synchronous paging need no thread; their sender frees the first two.</summary>
    void FinishWithoutApc(PIRP irp)
    {
        bool paging = (irp.Flags & IRP_PAGING_IO) != 0;
        PKEVENT signal = irp.UserEvent;
        CopyStatus(irp);
        if (paging) machine.Irps.IoFreeIrp(irp);
        if (!signal.IsNull) machine.Dispatcher.Signal(new PDISPATCHER_HEADER(signal.Address));
    }

    void UnlockMdls(PIRP irp)
    {
        for (PMDL mdl = irp.MdlAddress; !mdl.IsNull; mdl = mdl.Next) machine.Mdls.MmUnlockPages(mdl);
    }

    void FreeBuffers(PIRP irp)
    {
        if ((irp.Flags & IRP_DEALLOCATE_BUFFER) != 0) machine.Pool.Free(irp.AssociatedIrp.SystemBuffer.Address, IrpBuilders.SystemBufferTag);
        FreeMdls(irp);
    }

    void FreeMdls(PIRP irp)
    {
        for (PMDL mdl = irp.MdlAddress; !mdl.IsNull;)
        {
            PMDL next = mdl.Next;
            machine.Mdls.IoFreeMdl(mdl);
            mdl = next;
        }
        irp.MdlAddress = default;
    }

    void NobodyToFinish(PIRP irp) =>
        throw machine.BugChecks.Unhandled(NTSTATUS.STATUS_ACCESS_VIOLATION, 0, 0, 0,
            $"A driver-allocated IRP ({Format.Address(irp.Address)}) was completed up to the I/O manager, which has no thread to finish it in. Its originator needs a completion routine that frees the IRP and returns STATUS_MORE_PROCESSING_REQUIRED.");

    // ---- Part B: in the originating thread at APC_LEVEL.

    /// <summary>Delivers the outcome to the requestor and releases the IRP (COMPLETE-FINAL-10 to 19).</summary>
    internal void FinishInThread(KernelThread thread, PIRP irp)
    {
        PFILE_OBJECT file = irp.Tail.Overlay.OriginalFileObject;
        bool ownsReference = !file.IsNull && (irp.Flags & IRP_CREATE_OPERATION) == 0;
        thread.Irql = APC_LEVEL;
        Deliver(irp);
        thread.Irql = PASSIVE_LEVEL;
        // At PASSIVE_LEVEL: it may be the last reference, and IRP_MJ_CLOSE is sent then.
        if (ownsReference) machine.Objects.ObfDereferenceObject(file);
    }

    void Deliver(PIRP Irp)
    {
        machine.Requests.WaitForCancel(Irp);
        CopyBufferedData(Irp);
        FreeBuffers(Irp);

        NTSTATUS status = Irp.IoStatus.Status;
        ulong information = Irp.IoStatus.Information;
        PFILE_OBJECT file = Irp.Tail.Overlay.OriginalFileObject;
        bool synchronousFile = !file.IsNull && (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        bool synchronous = synchronousFile || (Irp.Flags & IRP_SYNCHRONOUS_API) != 0;
        if (!status.IsError || (Irp.PendingReturned && !synchronous))
        {
            CopyStatus(Irp);
            SignalRequestor(Irp, file, synchronousFile, status);
        }
        else if (Irp.PendingReturned)
        {
            // COMPLETE-FINAL-19: an error after STATUS_PENDING on a synchronous request.
            if ((Irp.Flags & IRP_SYNCHRONOUS_API) != 0)
            {
                CopyStatus(Irp);
                Signal(!Irp.UserEvent.IsNull ? Irp.UserEvent : EventOf(file));
            }
            else
            {
                file.FinalStatus = status;
                Signal(EventOf(file));
            }
        }
        Release(Irp, machine.Scheduler.FindThread(Irp.Tail.Overlay.Thread));
        if (file.IsNull) return;
        machine.Events.Emit(new RequestFinished(Irp, status, information));
        machine.Requests.Finished(Irp, status, information);
    }

    /// <summary>COMPLETE-FINAL-10, -11: Information bytes go to the requestor, never more than it has room for.</summary>
    void CopyBufferedData(PIRP irp)
    {
        const IRP_FLAGS needed = IRP_BUFFERED_IO | IRP_INPUT_OPERATION;
        NTSTATUS status = irp.IoStatus.Status;
        if ((irp.Flags & needed) != needed || status.IsError || status == NTSTATUS.STATUS_VERIFY_REQUIRED) return;
        ulong room = irp.Tail.Overlay.IrpExtension.Address;
        ulong length = irp.IoStatus.Information;
        if (length > room)
        {
            machine.Events.Emit(new InformationTooLarge(irp, length, room));
            length = room;
        }
        if (length == 0) return;
        try
        {
            GuestMemory.Read(irp.AssociatedIrp.SystemBuffer.Address, (int)length).CopyTo(GuestMemory.Write(irp.UserBuffer.Address, (int)length));
        }
        catch (GuestFaultException)
        {
            // COMPLETE-FINAL-12: the requestor's buffer went away; that becomes its status.
            irp.IoStatus.Status = NTSTATUS.STATUS_ACCESS_VIOLATION;
        }
    }

    // Information first: whoever polls the status must find it complete.
    static void CopyStatus(PIRP irp)
    {
        PIO_STATUS_BLOCK block = irp.UserIosb;
        if (block.IsNull) return;
        block.Information = irp.IoStatus.Information;
        block.Status = irp.IoStatus.Status;
    }

    void SignalRequestor(PIRP irp, PFILE_OBJECT file, bool synchronousFile, NTSTATUS status)
    {
        PKEVENT userEvent = irp.UserEvent;
        if (!userEvent.IsNull) Signal(userEvent);
        if (!file.IsNull && (userEvent.IsNull || synchronousFile))
        {
            file.FinalStatus = status;
            Signal(EventOf(file));
        }
    }

    void Signal(PKEVENT target)
    {
        machine.Events.Emit(new EventSet(target));
        machine.Dispatcher.Signal(new PDISPATCHER_HEADER(target.Address));
    }

    static PKEVENT EventOf(PFILE_OBJECT file) => new(file.Address + 0x98);

    void Release(PIRP irp, KernelThread? thread)
    {
        IrpAllocation.RemoveFromThread(irp, thread);
        machine.Irps.IoFreeIrp(irp);
    }
}
