using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Completes IRPs: climbs the stack locations, calls the completion routines, then finishes for the originator.</summary>
public sealed class IrpCompletion
{
    const uint RegistrationTag = 0x736E5355; // "USns"
    const ulong TailOffset = 0x78;

    readonly Machine machine;
    // What every packet needs.
    readonly CodeMap code;
    readonly KernelEvents events;
    readonly Scheduler scheduler;
    readonly PIO_COMPLETION_ROUTINE unloadSafeCompletion;
    // Packets of the kernel's own, each with what is to happen when all drivers are done with it.
    readonly System.Collections.Concurrent.ConcurrentDictionary<ulong, Action<PIRP>> takenBack = new();
    int takenBackCount;
    readonly PKKERNEL_ROUTINE freeApcIrp;
    readonly PKRUNDOWN_ROUTINE rundownApcIrp;
    readonly PKNORMAL_ROUTINE callApcRoutine;

    internal IrpCompletion(Machine machine)
    {
        this.machine = machine;
        code = machine.Code;
        events = machine.Events;
        scheduler = machine.Scheduler;
        freeApcIrp = machine.Code.Routine(new KKERNEL_ROUTINE((apc, _, _, _, _) => FreeApcIrp(apc)));
        rundownApcIrp = machine.Code.Routine(new KRUNDOWN_ROUTINE(FreeApcIrp));
        callApcRoutine = machine.Code.Routine(new KNORMAL_ROUTINE((context, block, routine) =>
            machine.Code.Call(new PIO_APC_ROUTINE(routine.Address), context, new PIO_STATUS_BLOCK(block.Address), 0u)));
        unloadSafeCompletion = machine.Code.Routine(new IO_COMPLETION_ROUTINE(UnloadSafeCompletion));
    }

    /// <summary>
    /// The caller is done with the IRP: every driver above that registered an IoCompletion routine for this outcome has it
    /// called, lowest first, until one returns STATUS_MORE_PROCESSING_REQUIRED. IRQL &lt;= DISPATCH_LEVEL. (CMP-01 to CMP-26)
    /// </summary>
    /// <param name="PriorityBoost">Priority increment of the originating thread when its request is delivered to it; without effect on the walk.</param>
    /// <exception cref="BugCheckException">0x44 when the packet was completed before, or is no IRP (CMP-02).</exception>
    [KernelExport("IofCompleteRequest", Alias = "IoCompleteRequest", MaxIrql = DISPATCH_LEVEL)]
    public void IoCompleteRequest(PIRP Irp, sbyte PriorityBoost)
    {
        KernelThread? thread = KernelThread.Current;
        if (thread is { IsStackSpent: true }) throw machine.BugChecks.KernelStackOverflow(0);
        ref IRP irp = ref Irp.Value;
        if (irp.CurrentLocation > irp.StackCount + 1 || irp.Type != IO_TYPE_IRP) CompletedBefore(Irp);
        bool observed = events.Observer is not null || scheduler.SwitchesAtIrps;
        if (observed) CompletionBegins(thread, Irp, PriorityBoost);
        if (Walk(thread, Irp, ref irp, observed)) FinishOriginator(Irp, PriorityBoost);
        if (observed) events.Emit(new IrpCompletionReturned(Irp));
    }

    /// <returns>False when a routine kept the IRP; it must not be touched any more then (CMP-15).</returns>
    bool Walk(KernelThread? thread, PIRP irpHandle, ref IRP irp, bool observed)
    {
        NTSTATUS recorded = NTSTATUS.STATUS_SUCCESS;
        while (irp.CurrentLocation <= irp.StackCount)
        {
            ref IO_STACK_LOCATION left = ref irp.Tail.Overlay.CurrentStackLocation.Value;
            bool reachedDriver = Advance(ref irp);
            SL_CONTROL control = left.Control;
            bool pending = (control & SL_PENDING_RETURNED) != 0;
            irp.PendingReturned = pending;
            bool invoke = MustInvoke(control, in irp);
            Clear(ref left);
            NTSTATUS status = irp.IoStatus.Status;
            if (status < 0 && status != recorded) Record(ref left, recorded = status);
            if (invoke)
            {
                PIO_COMPLETION_ROUTINE routine = left.CompletionRoutine;
                PVOID context = left.Context;
                PDEVICE_OBJECT device = reachedDriver ? irp.Tail.Overlay.CurrentStackLocation.DeviceObject : default;
                NTSTATUS answer = observed ? CallObserved(thread, routine, device, irpHandle, context) : code.Call(routine, device, irpHandle, context);
                if (answer == NTSTATUS.STATUS_MORE_PROCESSING_REQUIRED) return false;
            }
            else
            {
                if (pending && reachedDriver) irp.Tail.Overlay.CurrentStackLocation.Control |= SL_PENDING_RETURNED;
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

    /// <summary>STK-12: where a failure came from, for who debugs; an equal one of a higher driver is the same one.</summary>
    static void Record(ref IO_STACK_LOCATION location, NTSTATUS status)
    {
        location.Control = SL_ERROR_RETURNED;
        location.Parameters.Others.Argument4 = new PVOID((uint)status);
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
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Status)]
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
        NTSTATUS answer = code.Call(registration.Routine, DeviceObject, Irp, registration.Context);
        machine.Objects.ObfDereferenceObject(registration.Device);
        return answer;
    }

    void CompletionBegins(KernelThread? thread, PIRP irp, sbyte priorityBoost)
    {
        if (scheduler.SwitchesAtIrps) machine.Scheduler.Yield(machine.CurrentThread, SchedulingPoint.Irp);
        events.Emit(new IrpCompleting(irp, irp.IoStatus.Status, irp.IoStatus.Information, priorityBoost, machine.Own(thread)));
    }

    NTSTATUS CallObserved(KernelThread? thread, PIO_COMPLETION_ROUTINE routine, PDEVICE_OBJECT device, PIRP irp, PVOID context)
    {
        KernelThread? by = machine.Own(thread);
        events.Emit(new CompletionRoutineCalled(irp, device, routine, context, by));
        NTSTATUS answer = code.Call(routine, device, irp, context);
        events.Emit(new CompletionRoutineReturned(irp, device, routine, answer, by));
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
        events.Emit(new IrpCompleted(Irp, irp.IoStatus.Status, irp.IoStatus.Information));
        if (Volatile.Read(ref takenBackCount) > 0 && takenBack.TryRemove(Irp.Address, out Action<PIRP>? finish))
        {
            Interlocked.Decrement(ref takenBackCount);
            finish(Irp);
            return;
        }
        if ((irp.Flags & IRP_ASSOCIATED_IRP) != 0)
        {
            FinishAssociated(Irp, priorityBoost);
            return;
        }
        FinishReparse(ref irp);
        if ((irp.Flags & IRP_CLOSE_OPERATION) != 0 || IsSynchronousPaging(in irp))
        {
            FinishWithoutApc(Irp, priorityBoost);
            return;
        }
        bool paging = (irp.Flags & IRP_PAGING_IO) != 0;
        // The pages of a paging request are locked by whoever sent it.
        if (!paging) UnlockMdls(Irp);
        if ((irp.Flags & IRP_DEFER_IO_COMPLETION) != 0 && !irp.PendingReturned) return;
        if (irp.Tail.Overlay.Thread.IsNull) NobodyToFinish(Irp);
        PFILE_OBJECT file = irp.Tail.Overlay.OriginalFileObject;
        if (machine.Scheduler.FindThread(irp.Tail.Overlay.Thread) is { } thread) machine.Apcs.Queue(thread, Irp, priorityBoost);
        else if (!file.IsNull && FileRequests.BelongsToFile(Irp, file)) machine.Ports.FinishInWorker(Irp);
        else Drop(Irp);
    }

    /// <summary>COMPLETE-FINAL-03: nobody looked at a reparse point that only a file system or filter could have handled.</summary>
    void FinishReparse(ref IRP irp)
    {
        bool isMountPoint = false;
        if (irp.IoStatus.Status == NTSTATUS.STATUS_REPARSE && irp.IoStatus.Information > IO_REPARSE_TAG_RESERVED_RANGE)
        {
            isMountPoint = irp.IoStatus.Information == IO_REPARSE_TAG_MOUNT_POINT;
            if (!isMountPoint) irp.IoStatus.Status = NTSTATUS.STATUS_IO_REPARSE_TAG_NOT_HANDLED;
        }
        // Where a mount point leads is in the buffer; whoever opens the file frees it.
        if (irp.Tail.Overlay.AuxiliaryBuffer.IsNull || (isMountPoint && (irp.Flags & IRP_CREATE_OPERATION) != 0)) return;
        machine.Pool.Free(irp.Tail.Overlay.AuxiliaryBuffer.Address, 0);
        irp.Tail.Overlay.AuxiliaryBuffer = default;
    }

    /// <summary>Has a packet given back to the kernel, in the completing context, instead of being finished for a requestor.</summary>
    internal void TakeBack(PIRP irp, Action<PIRP> finish)
    {
        takenBack[irp.Address] = finish;
        Interlocked.Increment(ref takenBackCount);
    }

    /// <summary>Its thread has ended: nobody is left to deliver to.</summary>
    void Drop(PIRP irp)
    {
        // The pages of a paging request are its sender's.
        if ((irp.Flags & IRP_PAGING_IO) == 0) FreeBuffers(irp);
        Requestor requestor = machine.Outstanding.Remove(irp);
        if (!requestor.Event.IsNull) machine.Objects.ObfDereferenceObject(requestor.Event);
        PFILE_OBJECT file = HeldFile(irp);
        machine.Irps.IoFreeIrp(irp);
        if (!file.IsNull) machine.Objects.ObfDereferenceObject(file);
    }

    /// <summary>The file object that a request keeps from being closed until it is over; null for none.</summary>
    static PFILE_OBJECT HeldFile(PIRP irp) => (irp.Flags & (IRP_CREATE_OPERATION | IRP_PAGING_IO)) == 0 ? irp.Tail.Overlay.OriginalFileObject : default;

    static bool IsSynchronousPaging(in IRP irp) =>
        (irp.Flags & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO)) == (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO);

    /// <summary>ASSOC-03: the last associated IRP completes its master.</summary>
    void FinishAssociated(PIRP irp, sbyte priorityBoost)
    {
        PIRP master = irp.AssociatedIrp.MasterIrp;
        int remaining = Interlocked.Decrement(ref master.AssociatedIrp.IrpCount);
        // Partial MDLs, as a rule: their pages are locked for the master, and nothing is unlocked here (COMPLETE-FINAL-02).
        FreeMdls(irp);
        machine.Irps.IoFreeIrp(irp);
        if (remaining == 0) IoCompleteRequest(master, priorityBoost);
    }

    /// <summary>COMPLETE-FINAL-04: cleanup, close and synchronous paging need no thread; their sender frees the first two.</summary>
    void FinishWithoutApc(PIRP irp, sbyte priorityBoost)
    {
        bool paging = (irp.Flags & IRP_PAGING_IO) != 0;
        PKEVENT signal = irp.UserEvent;
        CopyStatus(irp);
        if (paging) machine.Irps.IoFreeIrp(irp);
        if (!signal.IsNull) machine.Dispatcher.Signal(new PDISPATCHER_HEADER(signal.Address), priorityBoost);
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
        if ((irp.Flags & IRP_PAGING_IO) != 0)
        {
            FinishPaging(thread, irp);
            return;
        }
        PFILE_OBJECT file = HeldFile(irp);
        thread.Irql = APC_LEVEL;
        Deliver(irp);
        thread.Irql = PASSIVE_LEVEL;
        // At PASSIVE_LEVEL: it may be the last reference, and IRP_MJ_CLOSE is sent then.
        if (!file.IsNull) machine.Objects.ObfDereferenceObject(file);
    }

    /// <summary>COMPLETE-FINAL-05: who sent an asynchronous paging request is called, and does everything else itself.</summary>
    void FinishPaging(KernelThread thread, PIRP irp)
    {
        IRP.AsynchronousParametersFields sender = irp.Overlay.AsynchronousParameters;
        PIO_STATUS_BLOCK block = irp.UserIosb;
        thread.Irql = APC_LEVEL;
        CopyStatus(irp);
        machine.Outstanding.Remove(irp);
        machine.Irps.IoFreeIrp(irp);
        if (!sender.UserApcRoutine.IsNull) code.Call(sender.UserApcRoutine, sender.UserApcContext, block, 0u);
        thread.Irql = PASSIVE_LEVEL;
    }

    void Deliver(PIRP Irp)
    {
        CopyBufferedData(Irp);
        FreeBuffers(Irp);
        if (!Irp.Tail.Overlay.AuxiliaryBuffer.IsNull) machine.Files.FollowMountPoint(Irp);

        NTSTATUS status = Irp.IoStatus.Status;
        ulong information = Irp.IoStatus.Information;
        PFILE_OBJECT file = Irp.Tail.Overlay.OriginalFileObject;
        bool synchronousFile = !file.IsNull && (file.Flags & FO_SYNCHRONOUS_IO) != 0;
        bool synchronous = synchronousFile || (Irp.Flags & IRP_SYNCHRONOUS_API) != 0;
        bool isReported = !status.IsError || (Irp.PendingReturned && !synchronous);
        if (isReported)
        {
            TellStatus(Irp);
            SignalRequestor(Irp, file, synchronousFile, status);
        }
        else if (Irp.PendingReturned)
        {
            // COMPLETE-FINAL-19: an error after STATUS_PENDING on a synchronous request.
            if ((Irp.Flags & IRP_SYNCHRONOUS_API) != 0)
            {
                TellStatus(Irp);
                if (!Irp.UserEvent.IsNull) Signal(Irp.UserEvent);
                else if (!file.IsNull) Signal(FileObjects.EventOf(file));
            }
            else
            {
                file.FinalStatus = status;
                Signal(FileObjects.EventOf(file));
            }
        }
        Requestor requestor = machine.Outstanding.Remove(Irp);
        if (!requestor.Event.IsNull) machine.Objects.ObfDereferenceObject(requestor.Event);
        if (!file.IsNull) events.Emit(new RequestFinished(Irp, status, information));
        bool isKept = isReported && (QueueApcRoutine(Irp) || machine.Ports.Take(Irp, file));
        if (!isKept) machine.Irps.IoFreeIrp(Irp);
        requestor.Completion?.Finished(status, information);
    }

    /// <summary>COMPLETE-FINAL-16: the packet becomes the APC that calls the requestor's routine.</summary>
    bool QueueApcRoutine(PIRP irp)
    {
        // A create request has its allocation size there.
        IRP.AsynchronousParametersFields parameters = irp.Overlay.AsynchronousParameters;
        if (parameters.UserApcRoutine.IsNull || (irp.Flags & IRP_CREATE_OPERATION) != 0) return false;
        var apc = new PKAPC(irp.Address + TailOffset);
        PIO_STATUS_BLOCK block = irp.UserIosb;
        machine.Apcs.KeInitializeApc(apc, machine.CurrentThread.Object, KAPC_ENVIRONMENT.OriginalApcEnvironment,
            freeApcIrp, rundownApcIrp, callApcRoutine, irp.RequestorMode, parameters.UserApcContext);
        return machine.Apcs.KeInsertQueueApc(apc, block, new PVOID(parameters.UserApcRoutine.Address), IO_NO_INCREMENT);
    }

    void FreeApcIrp(PKAPC apc) => machine.Irps.IoFreeIrp(new PIRP(apc.Address - TailOffset));

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
            events.Emit(new InformationTooLarge(irp, length, room));
            length = room;
        }
        if (length == 0) return;
        try
        {
            GuestMemory.Read(irp.AssociatedIrp.SystemBuffer.Address, (int)length).CopyTo(GuestMemory.Write(irp.UserBuffer.Address, (int)length));
        }
        catch (NtStatusException e)
        {
            // COMPLETE-FINAL-12: a program's buffer went away; that becomes its status.
            irp.IoStatus.Status = e.Status;
        }
    }

    /// <summary>Writes the requestor's status block; a program that has freed it is told in every other way.</summary>
    static void TellStatus(PIRP irp)
    {
        try
        {
            CopyStatus(irp);
        }
        catch (NtStatusException)
        {
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
        if (file.IsNull || !(userEvent.IsNull || synchronousFile)) return;
        file.FinalStatus = status;
        // COMPLETE-FINAL-17
        if ((file.Flags & FO_SKIP_SET_EVENT) == 0 || synchronousFile) Signal(FileObjects.EventOf(file));
    }

    void Signal(PKEVENT target)
    {
        events.Emit(new EventSet(target));
        machine.Dispatcher.Signal(new PDISPATCHER_HEADER(target.Address));
    }

}
