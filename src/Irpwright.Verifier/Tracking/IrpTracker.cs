namespace Irpwright.Verification.Tracking;

/// <summary>
/// What several rules need to know, kept once: which driver has an IRP, who marked it pending, what each dispatch routine did
/// with it, and which routines run on a thread.
/// </summary>
/// <remarks>
/// While rules are called, the tracker speaks of the event at hand. <see cref="Thread"/> and <see cref="Caller"/> are there for
/// every event, and furthermore for
/// IrpAllocated: <see cref="Known"/>, the packet that was at this address, if it still is one;
/// IrpForwarding: <see cref="Irp"/>, <see cref="Owner"/> (the sender);
/// IrpForwarded: <see cref="Irp"/>, <see cref="Owner"/> (the sender), <see cref="Visit"/> (the receiver);
/// DispatchReturned: <see cref="Visit"/>, <see cref="Frame"/>, and <see cref="Known"/> if the IRP still lives;
/// IrpCompleting: <see cref="Irp"/>, <see cref="Owner"/> (whose stay ends);
/// CompletionRoutineReturned: <see cref="Frame"/>, and <see cref="Known"/> if the IRP still lives;
/// IrpCancelled: <see cref="Known"/>;
/// CancelRoutineReturned, DpcReturned, WorkItemReturned, AddDeviceReturned, FastIoReturned: <see cref="Frame"/>;
/// IrpReused, IrpFreed, InformationTooLarge: <see cref="Irp"/>.
/// </remarks>
public sealed class IrpTracker
{
    const int RememberedCompletions = 16;
    // No multiple of the distances between routines.
    const int RoutinesAtHand = 61;

    readonly Machine machine;
    readonly Dictionary<ulong, IrpRecord> irps = [];
    readonly Dictionary<int, ThreadContext> threads = [];
    readonly Stack<IrpRecord> freeRecords = new();
    readonly Dictionary<ulong, LockedBuffer> locked = [];
    readonly Stack<Visit> freeVisits = new();
    readonly (ulong Irp, IrpName Name, CodePlace By)[] completions = new (ulong, IrpName, CodePlace)[RememberedCompletions];
    // Completion routines that IRPs were sent with; those at hand lie in a table that is quick to look into.
    readonly HashSet<ulong> routines = [];
    readonly ulong[] routinesAtHand = new ulong[RoutinesAtHand];
    IrpRecord? latest;
    ThreadContext? context;
    Visit? visit;
    RoutineFrame? frame;
    int useCount;
    int completionCount;

    internal IrpTracker(Machine machine) => this.machine = machine;

    /// <summary>The remove locks of devices.</summary>
    public RemoveLockTable RemoveLocks { get; } = new();

    /// <summary>The thread that causes the event, with its routines and locks.</summary>
    public ThreadContext Thread => context ?? throw new InvalidOperationException("The event happened outside of guest threads.");

    /// <summary>The driver code that called the kernel.</summary>
    public CodePlace Caller => Thread.Caller;

    /// <summary>The IRP that the event is about.</summary>
    public IrpRecord Irp => Known ?? throw new InvalidOperationException("The event is about no IRP that exists.");

    /// <summary>The IRP that the event is about, if it exists (any more).</summary>
    public IrpRecord? Known { get; private set; }

    /// <summary>The stay that the event begins or ends.</summary>
    public Visit Visit => visit ?? throw new InvalidOperationException("The event neither begins nor ends a driver's stay.");

    /// <summary>The stay with the driver that had the IRP when the event came; null if its originator had it.</summary>
    public Visit? Owner { get; private set; }

    /// <summary>
    /// The stay that the running routine belongs to, if its driver is using the IRP at hand although it sent it on and a
    /// lower driver still has it.
    /// </summary>
    public Visit? Overtaken =>
        Thread.Frame?.Visit is { Passed: false } own && own != Owner && own.Irp.Use == Known?.Name.Use && IsCalledBy(own.Driver) ? own : null;

    /// <summary>Whether the code that called the kernel belongs to a driver.</summary>
    public bool IsCalledBy(PDRIVER_OBJECT driver) => CallingDriver is { } caller && caller.Object == driver;

    /// <summary>
    /// The driver that called the kernel. A routine's last call may be a jump, which comes back to the kernel: then it is the driver whose
    /// routine runs.
    /// </summary>
    internal Driver? CallingDriver => Thread.Call.Export is null ? null : CodePlace.Find(machine, Thread.Call.Caller) ?? Thread.Caller.Driver;

    /// <summary>The driver's routine that returned.</summary>
    public RoutineFrame Frame => frame ?? throw new InvalidOperationException("The event is no routine's end.");

    /// <summary>Timers that are set, DPCs and work items that are queued, lookaside lists.</summary>
    public ActiveObjects Active { get; } = new();

    /// <summary>What is locked, by the address of the MDL.</summary>
    public IReadOnlyDictionary<ulong, LockedBuffer> Locked => locked;

    /// <summary>Who completed a packet that is no IRP any more, if that was not long ago.</summary>
    public (IrpName Irp, CodePlace By)? LastCompletion(ulong irp)
    {
        for (int i = 1; i <= Math.Min(completionCount, RememberedCompletions); i++)
        {
            (ulong address, IrpName name, CodePlace by) = completions[(completionCount - i) % RememberedCompletions];
            if (address == irp) return (name, by);
        }
        return null;
    }

    // Before an event the tracker says what its situation is, or null if it is to be told to nobody.
    // The first two are for events that the tracker has no use for: the overloads below are nearer.

    internal Situation? Before<TEvent>(in TEvent e) where TEvent : struct, allows ref struct => Situation.Any;

    internal void After<TEvent>(in TEvent e) where TEvent : struct, allows ref struct { }

    // ---- Situations

    /// <summary>Whether an IRP can be sent to a device, as far as the two themselves can tell.</summary>
    static bool CanBeSent(PIRP packet, PDEVICE_OBJECT device)
    {
        if (!IsIrp(packet) || !IsDevice(device)) return false;
        ref IRP irp = ref packet.Value;
        int next = irp.CurrentLocation - 1;
        return next > 0 && next <= irp.StackCount && next >= device.StackSize
            && IrpRecord.LocationAt(packet, (sbyte)next).MajorFunction <= IRP_MJ_MAXIMUM_FUNCTION;
    }

    /// <summary>Whether there is an IRP, whatever its state.</summary>
    internal static bool IsIrp(PIRP irp) => GuestMemory.IsAccessible(irp.Address, IRP.SizeOf, PageAccess.Read) && irp.Type == IO_TYPE_IRP;

    /// <summary>Whether there is a device object.</summary>
    internal static bool IsDevice(PDEVICE_OBJECT device) =>
        GuestMemory.IsAccessible(device.Address, DEVICE_OBJECT.SizeOf, PageAccess.Read) && device.Type == IO_TYPE_DEVICE;

    /// <summary>Whether a value can be a status: the bit N is zero in every one.</summary>
    internal static bool IsStatus(NTSTATUS status) => ((uint)status & 0x1000_0000) == 0;

    Situation OfForwarded(in IRP irp, in IO_STACK_LOCATION entered, PDEVICE_OBJECT receiver)
    {
        Visit? sender = Owner;
        Situation situation = OfThread | OfPacket(in irp) | Of(Irp.Name);
        if (Irp.Origin is IrpOrigin.Threaded or IrpOrigin.Asynchronous) situation |= Situation.Built;
        if (!IsInOrder(irp.Tail.Overlay.CurrentStackLocation, irp.CurrentLocation)) situation |= Situation.Irregular;
        SL_CONTROL control = entered.Control;
        if (sender is { Skipped: true }) situation |= Situation.Skipped;
        else if ((control & IrpRecord.Invoke) != 0) situation |= OfRoutine(entered.CompletionRoutine, sender);
        if (sender is not null)
        {
            if (sender.Registration is not null) situation |= Situation.Registered;
            if (!sender.Below.IsNull && sender.Below != receiver) situation |= Situation.Irregular;
        }
        if ((control & IrpRecord.Invoke) == 0) situation |= Situation.Unregistered;
        if ((control & SL_CONTROL.SL_PENDING_RETURNED) != 0) situation |= Situation.Pending;
        return situation;
    }

    bool IsInOrder(PIO_STACK_LOCATION entered, sbyte number) =>
        entered == Irp.LocationAt(number) && number <= Irp.StackCount && (Owner is null || number <= Owner.Location);

    Situation OfRoutine(PIO_COMPLETION_ROUTINE routine, Visit? sender)
    {
        if (routine.IsNull) return Situation.Irregular;
        Situation situation = routine == sender?.EntryRoutine && sender.Above?.Driver != sender.Driver ? Situation.Copied : Situation.Ordinary;
        ref ulong atHand = ref AtHand(routine);
        if (atHand == routine.Address) return situation;
        return routines.Add(atHand = routine.Address) ? situation | Situation.NewRoutine : situation;
    }

    ref ulong AtHand(PIO_COMPLETION_ROUTINE routine) => ref routinesAtHand[(routine.Address >> 4) % RoutinesAtHand];

    /// <summary>The next one who sends with a completion routine is looked at as if nobody had before.</summary>
    internal void ForgetRoutine(PIO_COMPLETION_ROUTINE routine)
    {
        routines.Remove(routine.Address);
        AtHand(routine) = 0;
    }

    Situation OfCompleting(in IRP irp, NTSTATUS status)
    {
        Situation situation = OfThread | OfPacket(in irp);
        if (Owner is { Marked: true }) situation |= Situation.Marked;
        if (Owner is { Registration: not null }) situation |= Situation.Registered;
        if (Thread.Locks.Length > 0) situation |= Situation.Unbalanced;
        if (Thread.Frame?.Visit != Owner) situation |= Situation.Elsewhere;
        bool isFinal = status is not (NTSTATUS.STATUS_PENDING or (NTSTATUS)(-1));
        if (!isFinal || irp.Tail.Overlay.OriginalFileObject != Irp.OriginalFileObject) situation |= Situation.Irregular;
        return situation;
    }

    Situation OfRoutineReturned()
    {
        Situation situation = OfReturn;
        if (Frame.PendingReturned) situation |= Situation.Pending;
        if (Frame.Marked) situation |= Situation.Marked;
        if (Known is { } irp && Frame.Location > irp.StackCount) situation |= Situation.Originator;
        return situation;
    }

    Situation OfDispatchReturned(Visit ended, NTSTATUS status)
    {
        Situation situation = OfReturn | Of(ended.Irp);
        if (status == NTSTATUS.STATUS_PENDING) situation |= Situation.Pending;
        if (ended.Marked) situation |= Situation.Marked;
        if (!ended.Passed) situation |= Situation.Unfinished;
        bool isTold = (status == ended.LowerStatus || ended.LowerStatus is null) && (status == ended.FinalStatus || ended.FinalStatus is null);
        return isTold && IsStatus(status) ? situation : situation | Situation.Irregular;
    }

    internal static Situation SituationOf(in DdiCalled e, ThreadContext caller)
    {
        Situation situation = e.Irql == PASSIVE_LEVEL ? Situation.Ordinary : Situation.Raised;
        if (caller.Frame?.Visit is { } visit) situation |= Of(visit.Irp);
        return e.Irql >= e.Export.MinIrql && e.Irql <= e.Export.MaxIrql ? situation : situation | Situation.Irregular;
    }

    Situation OfThread => Thread.Thread is { Irql: PASSIVE_LEVEL, InterruptsDisabled: false } ? Situation.Ordinary : Situation.Raised;

    Situation OfPacket(in IRP irp)
    {
        Situation situation = Owner is null ? Situation.Originator : Of(Owner.Irp);
        if (RemoveLocks.Any) situation |= Situation.RemoveLock;
        if (!irp.CancelRoutine.IsNull) situation |= Situation.Cancelable;
        if (!irp.MdlAddress.IsNull) situation |= Situation.Described;
        return situation;
    }

    static Situation Of(in IrpName irp) => irp.MovesData ? Situation.Ordinary : Situation.Management;

    Situation OfReturn
    {
        get
        {
            Situation situation = RemoveLocks.Any ? Situation.RemoveLock : Situation.Ordinary;
            if (RulesWithNotes > 0 || Thread.Thread.InterruptsDisabled) situation |= Situation.Noted;
            bool isBalanced = Thread.Thread.Irql == Frame.Irql && Thread.Thread.ApcDisable == Frame.ApcDisable && Thread.Locks.IsEmpty;
            return isBalanced ? situation : situation | Situation.Unbalanced;
        }
    }

    internal int RulesWithNotes { get; set; }

    /// <summary>The packets that exist.</summary>
    public Dictionary<ulong, IrpRecord>.ValueCollection Irps => irps.Values;

    /// <summary>The threads that drivers have run on and that have not ended.</summary>
    public Dictionary<int, ThreadContext>.ValueCollection Threads => threads.Values;

    /// <summary>The packet at an address, if there is one.</summary>
    public IrpRecord? At(ulong irp) => Get(irp);

    /// <summary>No event is at hand any more.</summary>
    internal void End()
    {
        Known = null;
        Owner = visit = null;
        frame = null;
        context = null;
    }

    /// <summary>Begins an event.</summary>
    internal void Begin(KernelThread thread)
    {
        Known = null;
        Owner = visit = null;
        frame = null;
        if (context?.Thread != thread && !threads.TryGetValue(thread.Id, out context))
        {
            threads.Add(thread.Id, context = new ThreadContext(machine, this, thread));
            thread.ObserverState ??= context;
        }
    }

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

    // ---- Other routines, events and locks

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

    // ---- Objects that the kernel will come back to

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
