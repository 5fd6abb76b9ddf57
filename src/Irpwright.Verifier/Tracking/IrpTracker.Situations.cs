namespace Irpwright.Verification.Tracking;

// What is out of the ordinary about an event.
public sealed partial class IrpTracker
{
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
}
