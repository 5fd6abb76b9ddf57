namespace Irpwright.Verification.Tracking;

// What else happens on threads: other routines, events and locks.
public sealed partial class IrpTracker
{
    internal Situation? Before(in IrpCancelled e)
    {
        Known = Find(e.Irp);
        if (e.Routine.IsNull) Known.CancelledUnseen = true;
        return Situation.Any;
    }

    internal void After(in IrpCancelled e)
    {
        if (IsCancelledByDriver) Thread.Call = default;
        if (e.Routine.IsNull) return;
        RoutineFrame entered = Thread.Push(RoutineKind.Cancel, e.Routine.Address, DriverOf(Irp, e.DeviceObject), in Irp.Name);
        // It runs at DISPATCH_LEVEL with the lock, and ends without both.
        entered.Irql = e.Irp.CancelIrql;
        Thread.HandLockToFrame();
    }

    internal Situation? Before(in CancelRoutineReturned e) =>
        (frame = Thread.Unwind(RoutineKind.Cancel, e.Routine.Address, e.Irp.Address)) is null ? null : Situation.Any;

    internal void After(in CancelRoutineReturned e) => Thread.Pop();

    internal Situation? Before(in DpcStarted e)
    {
        Active.Remove(ActiveKind.Dpc, e.Dpc.Address);
        return Enter(RoutineKind.Dpc, e.Routine.Address);
    }

    internal Situation? Before(in DpcReturned e) => Leave(RoutineKind.Dpc, e.Routine.Address);

    internal void After(in DpcReturned e) => Thread.Pop();

    internal Situation? Before(in WorkItemStarted e)
    {
        Active.Remove(ActiveKind.WorkItem, e.WorkItem.Address);
        return Enter(RoutineKind.WorkItem, e.Routine);
    }

    internal Situation? Before(in WorkItemReturned e) => Leave(RoutineKind.WorkItem, e.Routine);

    internal void After(in WorkItemReturned e) => Thread.Pop();

    internal Situation? Before(in AddDeviceCalled e)
    {
        RoutineFrame entered = Thread.Push(RoutineKind.AddDevice, e.Routine.Address, e.DriverObject);
        entered.PhysicalDevice = e.PhysicalDeviceObject;
        entered.Created = default;
        return Situation.Any;
    }

    internal Situation? Before(in AddDeviceReturned e) => Leave(RoutineKind.AddDevice, e.Routine.Address);

    internal void After(in AddDeviceReturned e) => Thread.Pop();

    // Rules still see who called before.
    internal void After(in FastIoCalled e) => Thread.Push(RoutineKind.FastIo, e.Routine, e.DeviceObject.DriverObject);

    internal Situation? Before(in FastIoReturned e) => Leave(RoutineKind.FastIo, e.Routine);

    internal void After(in FastIoReturned e) => Thread.Pop();

    internal Situation? Before(in DeviceCreated e)
    {
        if (Thread.Frame is { Kind: RoutineKind.AddDevice } running) running.Created = e.DeviceObject;
        return Situation.Any;
    }

    Situation? Enter(RoutineKind kind, ulong routine)
    {
        Thread.Push(kind, routine, default);
        return Situation.Any;
    }

    Situation? Leave(RoutineKind kind, ulong routine) => (frame = Thread.Unwind(kind, routine, 0)) is null ? null : Situation.Any;

    internal Situation? Before(in DdiCalled e)
    {
        Note(Thread, in e);
        return SituationOf(in e, Thread);
    }

    /// <summary>What is known of a thread, for which no event has to be at hand; null if nothing is.</summary>
    internal ThreadContext? ContextOf(KernelThread? thread) => thread?.ObserverState is ThreadContext known && known.Tracker == this ? known : null;

    /// <summary>Notes a call, also without an event being at hand: it is the thread's own affair.</summary>
    internal static void Note(ThreadContext caller, in DdiCalled e) =>
        caller.Call = new PendingCall(e.Export, e.Caller, e.Arguments.Count > 0 ? e.Arguments[0] : 0, e.Irql);

    /// <summary>Whether a call itself changes what is tracked.</summary>
    internal static bool Acts(KernelExport export) => Acting[export.Index];

    static readonly bool[] Acting = [.. KernelExports.All.Select(export =>
        LockRoutine.Of(export) is { Acquires: false } || RemoveLockTable.Takes(export))];

    internal void After(in DdiCalled e)
    {
        if (LockRoutine.Of(e.Export) is { Acquires: false })
        {
            // ExReleaseResourceForThreadLite may name another thread.
            if (!Thread.Released(e.Arguments[0])) ReleasedByOther(e.Arguments[0]);
        }
        else if (RemoveLockTable.Takes(e.Export))
        {
            bool creates = e.Export == KernelExports.IoInitializeRemoveLockEx;
            RemoveLocks.Called(in e, creates ? CodePlace.Find(machine, e.Caller)?.Object ?? default : default, Thread.Frame?.Irp ?? default);
        }
    }

    void ReleasedByOther(ulong address)
    {
        foreach (ThreadContext thread in threads.Values)
        {
            if (thread.Released(address)) return;
        }
    }

    /// <summary>Whether the tracker has to hear that a routine has returned.</summary>
    internal static bool Follows(KernelExport export) => Followed[export.Index];

    static readonly bool[] Followed = [.. KernelExports.All.Select(export =>
        LockRoutine.Of(export) is { Acquires: true } || RemoveLockTable.Follows(export)
            || export == KernelExports.KeReleaseMutex || export == KernelExports.KeReleaseMutant)];

    internal void After(in DdiReturned e)
    {
        if (LockRoutine.Of(e.Export) is { Acquires: true } acquired)
        {
            if (!acquired.MayFail || (byte)e.Result != 0) Thread.Acquired(e.Arguments[0], acquired.Kind, acquired.IsShared);
        }
        else if (RemoveLockTable.Follows(e.Export))
        {
            RemoveLocks.Returned(in e, Thread.Frame?.Irp ?? default);
        }
        else if (Follows(e.Export) && !IsOwnedMutex(new PVOID(e.Arguments[0])))
        {
            Thread.Released(e.Arguments[0]);
        }
    }

    internal void After(in DeviceDeleted e) => RemoveLocks.Deleted(e.DeviceObject);

    internal void After(in PoolAllocated e) => RemoveLocks.Allocated(e.Address, e.Size);

    internal Situation? Before(in EventSet e)
    {
        if (!IsSetByDriver || Thread.Frame is not { Kind: RoutineKind.Completion } running) return Situation.Any;
        running.EventSet = e.Event;
        // Whoever waits for the event may be done with the IRP before the routine returns.
        if (Get(running.Irp.Address) is { } record && record.Name.Use == running.Irp.Use)
            SampleRoutine(running, record);
        return Situation.Any;
    }

    internal void After(in EventSet e) => Thread.Call = default;

    internal Situation? Before(in WaitStarted e)
    {
        if (e.MayBlock) Thread.BeginWait(e.Object);
        if (Thread.Frame is { Kind: RoutineKind.Dispatch, Visit: { Forwarded: true } waiting }) waiting.WaitingFor = e.Object;
        return Situation.Any;
    }

    internal Situation? Before(in WaitEnded e)
    {
        Thread.EndWait();
        if (Thread.Frame is { Kind: RoutineKind.Dispatch, Visit: { } waiting }) waiting.WaitingFor = default;
        return Situation.Any;
    }

    /// <summary>A KMUTEX, as opposed to a mutant, which user mode may have.</summary>
    internal static bool IsMutex(PVOID target) =>
        GuestMemory.IsAccessible(target.Address, KMUTANT.SizeOf, PageAccess.Read)
            && new PDISPATCHER_HEADER(target.Address).Type == KOBJECTS.MutantObject && new PKMUTANT(target.Address).ApcDisable != 0;

    bool IsOwnedMutex(PVOID target) => IsMutex(target) && new PKMUTANT(target.Address).OwnerThread == Thread.Thread.Object;

    internal void After(in WaitEnded e)
    {
        if (!IsOwnedMutex(e.Object) || Thread.Find(e.Object.Address) is not null) return;
        Thread.Acquired(e.Object.Address, LockKind.Mutex);
    }

    internal Situation? Before(in SpinLockAcquired e)
    {
        PendingCall call = Thread.Call;
        ulong spinLock = e.SpinLock.Address;
        bool isMeant = call.Argument == spinLock && call.Export is not null;
        bool isQueued = isMeant && call.Export!.Name.StartsWith("KeAcquireInStackQueued", StringComparison.Ordinal);
        LockKind kind = e.SpinLock == machine.Cancellation.SpinLock ? LockKind.CancelSpinLock
            : isQueued ? LockKind.QueuedSpinLock : LockKind.SpinLock;
        Thread.Acquired(spinLock, kind, irql: isMeant ? call.Irql : null);
        return Situation.Any;
    }

    internal void After(in SpinLockReleased e) => Thread.Released(e.SpinLock.Address);
}
