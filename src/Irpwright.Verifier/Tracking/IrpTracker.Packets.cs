namespace Irpwright.Verification.Tracking;

// IRPs, and their way down to a device and back up.
public sealed partial class IrpTracker
{
    // ---- Packets

    internal Situation? Before(in IrpAllocated e)
    {
        Known = Get(e.Irp.Address);
        return Situation.Any;
    }

    internal void After(in IrpAllocated e)
    {
        IrpRecord? record = Known;
        bool again = e.Origin == IrpOrigin.Initialized && record is { Origin: IrpOrigin.Allocated };
        if (record is null) irps.Add(e.Irp.Address, record = freeRecords.TryPop(out IrpRecord? free) ? free : new IrpRecord());
        record.MarkBehindEndReported = false;
        bool quotaCharged = again ? record.QuotaCharged : (e.Irp.AllocationFlags & IRP_ALLOCATION_FLAGS.IRP_QUOTA_CHARGED) != 0;
        if (!again) record.Maker = Thread.Call.Export is null ? new CodePlace(machine, default, 0, 0) : Caller;
        Start(record, e.Irp, e.Label, again ? record.Origin : e.Origin, e.StackSize, quotaCharged);
    }

    void Start(IrpRecord record, PIRP irp, IrpLabel label, IrpOrigin? origin, int stackCount, bool quotaCharged)
    {
        Abandon(record);
        record.Rename(new IrpName(++useCount, label, 0, irp.Address));
        record.Origin = origin;
        record.StackCount = (sbyte)stackCount;
        record.QuotaCharged = quotaCharged;
        record.Forwards = 0;
        record.OriginalFileObject = default;
        record.Completer = null;
        record.CancelledUnseen = false;
        record.Sent = null;
    }

    void Abandon(IrpRecord record)
    {
        while (record.Owner is { } open)
        {
            record.Leave();
            Pass(open, null);
        }
    }

    internal Situation? Before(in IrpReused e)
    {
        Known = Find(e.Irp);
        return Situation.Any;
    }

    internal void After(in IrpReused e) => Start(Irp, e.Irp, Irp.Name.Label, Irp.Origin, Irp.StackCount, Irp.QuotaCharged);

    internal Situation? Before(in IrpFreed e)
    {
        Known = Find(e.Irp);
        SampleOwner(Known);
        return Situation.Any;
    }

    internal void After(in IrpFreed e)
    {
        if (IsFreedByDriver) Thread.Call = default;
        Abandon(Irp);
        irps.Remove(Irp.Name.Address);
        latest = null;
        freeRecords.Push(Irp);
    }

    internal Situation? Before(in InformationTooLarge e)
    {
        Known = Find(e.Irp);
        return Situation.Any;
    }

    /// <summary>Driver code called IoFreeIrp, as opposed to the kernel releasing an IRP of its own.</summary>
    public bool IsFreedByDriver => Thread.Call.Export == KernelExports.IoFreeIrp;

    /// <summary>Driver code called IoCancelIrp, as opposed to the kernel cancelling for a requestor.</summary>
    public bool IsCancelledByDriver => Thread.Call.Export == KernelExports.IoCancelIrp;

    /// <summary>Driver code called KeSetEvent, as opposed to the kernel setting an event.</summary>
    public bool IsSetByDriver => Thread.Call.Export == KernelExports.KeSetEvent;

    /// <summary>Driver code called IoCompleteRequest, as opposed to the kernel for a driver without a dispatch routine.</summary>
    public bool IsCompletedByDriver => Thread.Call.Export == KernelExports.IofCompleteRequest;

    // Most events are about the IRP of the one before.
    IrpRecord? Get(ulong irp)
    {
        if (latest is not null && latest.Name.Address == irp) return latest;
        if (irps.TryGetValue(irp, out IrpRecord? record)) latest = record;
        return record;
    }

    IrpRecord Find(PIRP irp)
    {
        if (Get(irp.Address) is { } record) return record;
        // Allocated before the verifier came, or no IRP at all.
        irps.Add(irp.Address, record = new IrpRecord { Maker = new CodePlace(machine, default, 0, 0) });
        sbyte stackCount = GuestMemory.IsAccessible(irp.Address, IRP.SizeOf, PageAccess.Read) ? irp.StackCount : (sbyte)0;
        Start(record, irp, default, null, stackCount, false);
        return record;
    }

    // ---- Down

    internal Situation? Before(in IrpForwarding e)
    {
        IrpRecord record = Find(e.Irp);
        Situation situation = CanBeSent(e.Irp, e.DeviceObject) ? Situation.Ordinary : Situation.Irregular;
        if (record.Owner is not null && record.Owner != Thread.Frame?.Visit) situation |= Situation.Elsewhere;
        if (situation == Situation.Ordinary) return null;
        Known = record;
        Owner = record.Owner;
        return situation;
    }

    internal Situation? Before(in IrpForwarded e)
    {
        IrpRecord record = Known = Find(e.Irp);
        ref IRP irp = ref e.Irp.Value;
        sbyte location = irp.CurrentLocation;
        ref IO_STACK_LOCATION entered = ref record.LocationAt(location).Value;
        record.Forwards++;
        if (record.Forwards == 1) record.OriginalFileObject = irp.Tail.Overlay.OriginalFileObject;
        Owner = record.Owner;
        // Who sends it although a lower driver has it is the sender all the same.
        if (Overtaken is { } overtaken) Owner = overtaken;
        // A name that was written in part takes long to copy: not each time, therefore.
        if (record.Name.MajorFunction != entered.MajorFunction) record.Rename(record.Name with { MajorFunction = entered.MajorFunction });
        if (Owner is { } sender)
        {
            Sample(sender, record);
            sender.Forwarded = true;
            sender.Skipped = location >= sender.Location;
        }
        SentIrp sent = Thread.SendSlot();
        sent.Begin(record, Owner, entered.Control, irp.UserEvent, Thread);
        if (Owner is null) record.Sent = sent;
        else Owner.Sent = sent;
        if (!freeVisits.TryPop(out visit)) visit = new Visit(machine);
        visit.Begin(in record.Name, in irp, e.DeviceObject, e.Routine, location, in entered);
        record.Enter(visit);
        return OfForwarded(in irp, in entered, e.DeviceObject);
    }

    internal void After(in IrpForwarded e)
    {
        Visit begun = Visit;
        Thread.Push(RoutineKind.Dispatch, begun.Routine.Address, begun.Driver, in begun.Irp, begun, begun.Location);
    }

    internal Situation? Before(in DispatchReturned e)
    {
        frame = Thread.Unwind(RoutineKind.Dispatch, e.Routine.Address, e.Irp.Address);
        if (frame is null) return null;
        visit = frame.Visit!;
        if (Get(e.Irp.Address) is { } record && record.Name.Use == visit.Irp.Use)
        {
            Known = record;
            if (record.Owner == visit) SampleOwner(record);
        }
        return OfDispatchReturned(visit, e.Status);
    }

    internal void After(in DispatchReturned e)
    {
        Visit returned = Visit;
        Thread.Pop();
        if (Thread.Sent is { } sent && sent.Irp.Use == returned.Irp.Use) sent.Result = e.Status;
        if (Thread.Frame is { Kind: RoutineKind.Dispatch, Visit: { } sender } && sender.Irp.Use == returned.Irp.Use)
        {
            sender.LowerStatus = e.Status;
            sender.WasMisled = e.Status != NTSTATUS.STATUS_PENDING
                && (!returned.Passed || (returned.FinalStatus is { } final && final != e.Status));
        }
        returned.Result = e.Status;
        Recycle(returned);
    }

    // ---- Up

    internal Situation? Before(in IrpCompleting e)
    {
        IrpRecord record = Known = Find(e.Irp);
        Owner = record.Owner;
        SampleOwner(record);
        return OfCompleting(in e.Irp.Value, e.Status);
    }

    internal void After(in IrpCompleting e)
    {
        IrpRecord record = Irp;
        CodePlace by = Caller;
        record.Completer = by;
        completions[completionCount++ % RememberedCompletions] = (record.Name.Address, record.Name, by);
        if (Thread.Frame is { } running)
        {
            running.LastCompleted = (record.Name.Use, record.Forwards);
            if (Owner is not null && running.Kind == RoutineKind.Dispatch && running.Visit == Owner) Owner.CompletedByDispatch = true;
        }
        if (Owner is not null) Owner.Completed = true;
        PassBelow(record, e.Irp.CurrentLocation + 1, e.Status);
    }

    internal Situation? Before(in CompletionRoutineCalled e)
    {
        IrpRecord record = Known = Find(e.Irp);
        ref IRP irp = ref e.Irp.Value;
        sbyte location = irp.CurrentLocation;
        PassBelow(record, location, irp.IoStatus.Status);
        Visit? owner = record.Owner;
        RoutineFrame entered = Thread.Push(
            RoutineKind.Completion, e.Routine.Address, DriverOf(record, e.DeviceObject), in record.Name, owner, location);
        entered.Context = e.Context;
        entered.Sent = owner is null ? record.Sent : owner.Sent;
        entered.PendingReturned = irp.PendingReturned;
        entered.MarkedBefore = location <= record.StackCount && (record.ControlOf(location) & SL_CONTROL.SL_PENDING_RETURNED) != 0;
        return OfThread;
    }

    // The device object itself may be deleted by now.
    static PDRIVER_OBJECT DriverOf(IrpRecord irp, PDEVICE_OBJECT device) =>
        irp.Owner is { } owner && owner.Device == device ? owner.Driver : default;

    internal Situation? Before(in CompletionRoutineReturned e)
    {
        frame = Thread.Unwind(RoutineKind.Completion, e.Routine.Address, e.Irp.Address);
        if (frame is null) return null;
        if (Get(e.Irp.Address) is { } record && record.Name.Use == frame.Irp.Use)
        {
            Known = record;
            SampleRoutine(frame, record);
        }
        frame.Sent?.Returned(frame);
        return OfRoutineReturned();
    }

    internal void After(in CompletionRoutineReturned e) => Thread.Pop();

    internal Situation? Before(in IrpCompleted e)
    {
        PassBelow(Known = Find(e.Irp), Irp.StackCount + 2, e.Status);
        return Situation.Any;
    }

    void PassBelow(IrpRecord record, int location, NTSTATUS status)
    {
        while (record.Owner is { } left && left.Location < location)
        {
            record.Leave();
            Pass(left, status);
        }
    }

    void Pass(Visit left, NTSTATUS? status)
    {
        left.Passed = true;
        left.FinalStatus = status;
        Recycle(left);
    }

    void Recycle(Visit ended)
    {
        if (ended.Passed && ended.Returned) freeVisits.Push(ended);
    }

    /// <summary>Whether the driver has marked the IRP pending, as far as can be told: only while it has the IRP.</summary>
    internal bool IsMarked(Visit visit)
    {
        if (Get(visit.Irp.Address) is { } record && record.Owner == visit) SampleOwner(record);
        return visit.MayHaveMarked;
    }

    // IoMarkIrpPending is inline: its mark is seen wherever the IRP comes by.
    static void SampleOwner(IrpRecord? record)
    {
        if (record is { Owner: { Skipped: false } owner } && record.Irp.CurrentLocation == owner.Location) Sample(owner, record);
    }

    static void Sample(Visit owner, IrpRecord record)
    {
        if (!owner.MayHaveMarked) owner.Marked = (record.ControlOf(owner.Location) & SL_CONTROL.SL_PENDING_RETURNED) != 0;
    }

    static void SampleRoutine(RoutineFrame running, IrpRecord record)
    {
        if (running.MarkedBefore || running.Location > record.StackCount || record.Irp.CurrentLocation != running.Location) return;
        running.Marked = (record.ControlOf(running.Location) & SL_CONTROL.SL_PENDING_RETURNED) != 0;
    }
}
