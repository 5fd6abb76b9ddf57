namespace Irpwright.Verification.Tracking;

// Objects that the kernel will come back to.
public sealed partial class IrpTracker
{
    internal Situation? Before(in TimerSet e)
    {
        Active.Add(new ActiveObject(ActiveKind.Timer, e.Timer.Address, KTIMER.SizeOf, RoutineOf(e.Timer.Dpc), Caller));
        return Situation.Any;
    }

    static ulong RoutineOf(PKDPC dpc) => GuestMemory.IsAccessible(dpc.Address, KDPC.SizeOf, PageAccess.Read) ? dpc.DeferredRoutine.Address : 0;

    internal Situation? Before(in TimerCancelled e)
    {
        Active.Remove(ActiveKind.Timer, e.Timer.Address);
        return Situation.Any;
    }

    internal Situation? Before(in TimerExpired e)
    {
        if (!GuestMemory.IsAccessible(e.Timer.Address, KTIMER.SizeOf, PageAccess.Read) || e.Timer.Period == 0)
            Active.Remove(ActiveKind.Timer, e.Timer.Address);
        return Situation.Any;
    }

    internal Situation? Before(in DpcQueued e)
    {
        Active.Add(new ActiveObject(ActiveKind.Dpc, e.Dpc.Address, KDPC.SizeOf, RoutineOf(e.Dpc), Caller));
        return Situation.Any;
    }

    internal Situation? Before(in DpcRemoved e)
    {
        Active.Remove(ActiveKind.Dpc, e.Dpc.Address);
        return Situation.Any;
    }

    internal Situation? Before(in WorkItemQueued e)
    {
        ulong size = e.IoObject.IsNull ? WORK_QUEUE_ITEM.SizeOf : (ulong)IO_WORKITEM.SizeOf;
        Active.Add(new ActiveObject(ActiveKind.WorkItem, e.WorkItem.Address, size, e.Routine, Caller));
        return Situation.Any;
    }

    static readonly KernelExport?[] LockRoutines =
        [KernelExports.MmProbeAndLockPages, KernelExports.MmProbeAndLockProcessPages, KernelExports.MmProbeAndLockSelectedPages];

    internal Situation? Before(in PagesLocked e)
    {
        // The kernel locks buffers of requests itself.
        CodePlace? by = LockRoutines.Contains(Thread.Call.Export) ? Caller : null;
        locked[e.Mdl.Address] = new LockedBuffer(e.Address, e.Length, by);
        return Situation.Any;
    }

    internal Situation? Before(in PagesUnlocked e)
    {
        locked.Remove(e.Mdl.Address);
        return Situation.Any;
    }

    // Rules still see the state before it.
    internal void After(in LookasideInitialized e) =>
        Active.Add(new ActiveObject(ActiveKind.Lookaside, e.Lookaside.Address, e.Size, 0, Caller));

    internal void After(in LookasideDeleted e) => Active.Remove(ActiveKind.Lookaside, e.Lookaside.Address);

    internal void After(in ThreadEnded e)
    {
        threads.Remove(e.Thread.Id);
        context = null;
    }
}
