namespace Irpwright.Verification.Tracking;

/// <summary>The last IRP that a routine sent, and what became of it. Objects are used again.</summary>
public sealed class SentIrp
{
    readonly Machine machine;
    // Of two places, which are made when somebody asks.
    PDRIVER_OBJECT placeDriver, routineDriver;
    ulong placeRoutine, placeCall, routine;

    internal SentIrp(Machine machine) => this.machine = machine;

    public IrpName Irp { get; private set; }

    /// <summary>Who made it; null if that was before the verifier came.</summary>
    public IrpOrigin? Origin { get; private set; }

    /// <summary>The stay of the driver that sent it on; null if its originator sent it.</summary>
    public Visit? Sender { get; private set; }

    /// <summary>The Control byte of the location that the receiver got: for which outcomes the sender's completion routine is called.</summary>
    public SL_CONTROL Control { get; private set; }

    /// <summary>The event that the I/O manager sets when the request is over.</summary>
    public PKEVENT UserEvent { get; private set; }

    /// <summary>The code that sent it.</summary>
    public CodePlace Place => new(machine, placeDriver, placeRoutine, placeCall);

    /// <summary>What IoCallDriver returned; null before.</summary>
    public NTSTATUS? Result { get; internal set; }

    /// <summary>The sender's completion routine; null if it has not been called and returned.</summary>
    public CodePlace? Routine => routine == 0 ? null : new CodePlace(machine, routineDriver, routine, 0);

    /// <summary>Irp->PendingReturned was set when that was called.</summary>
    public bool PendingReturned { get; private set; }

    /// <summary>It was sent by its originator, and not by a driver that received it.</summary>
    public bool IsOwn => Sender is null;

    internal void Begin(IrpRecord irp, Visit? sender, SL_CONTROL control, PKEVENT userEvent, ThreadContext caller)
    {
        Irp = irp.Name;
        Origin = irp.Origin;
        Sender = sender;
        Control = control;
        UserEvent = userEvent;
        RoutineFrame? running = caller.Frame;
        placeDriver = running?.Driver ?? default;
        placeRoutine = running?.Routine ?? 0;
        placeCall = caller.Call.Caller;
        Result = null;
        routine = 0;
        PendingReturned = false;
    }

    internal void Clear() => Irp = default;

    internal void Returned(RoutineFrame returned)
    {
        if (returned.Irp.Use != Irp.Use || returned.Visit != Sender) return;
        routineDriver = returned.Driver;
        routine = returned.Routine;
        PendingReturned = returned.PendingReturned;
    }
}
