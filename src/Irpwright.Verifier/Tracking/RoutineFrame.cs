namespace Irpwright.Verification.Tracking;

/// <summary>What kind of routine the kernel called.</summary>
public enum RoutineKind : byte
{
    Dispatch,
    Completion,
    Cancel,
    Dpc,
    WorkItem,
    AddDevice,
    FastIo,
}

/// <summary>A driver's routine that is running on a thread. Objects are used again, each at its depth.</summary>
public sealed class RoutineFrame
{
    readonly Machine machine;
    PendingCall call;

    internal RoutineFrame(Machine machine, RoutineFrame? outer)
    {
        this.machine = machine;
        Outer = outer;
        Depth = outer is null ? 0 : outer.Depth + 1;
        LastSent = new SentIrp(machine);
    }

    /// <summary>The one that runs below it; null for the thread's own code, which no routine runs below.</summary>
    internal RoutineFrame? Outer { get; }

    /// <summary>For the next routine that is called meanwhile, once there was one.</summary>
    internal RoutineFrame? Inner { get; set; }

    /// <summary>1 for a routine that the thread's own code had called.</summary>
    internal int Depth { get; }

    /// <summary>What the routine sent last; it has no number if the routine has sent nothing.</summary>
    internal SentIrp LastSent { get; }

    /// <summary>The call into the kernel that the routine makes, or has made last.</summary>
    internal ref PendingCall Call => ref call;

    public RoutineKind Kind { get; internal set; }

    /// <summary>Its address.</summary>
    public ulong Routine { get; internal set; }

    internal PDRIVER_OBJECT Driver { get; set; }

    /// <summary>The IRP it was called for; its address is 0 where there is none.</summary>
    public IrpName Irp { get; private set; }

    /// <summary>The driver's stay that a dispatch or completion routine belongs to; null for an originator's routine.</summary>
    public Visit? Visit { get; private set; }

    /// <summary>The location that was current when it was called; beyond the last one for an originator without a location.</summary>
    public sbyte Location { get; private set; }

    /// <summary>The Context argument of a completion routine.</summary>
    public PVOID Context { get; internal set; }

    /// <summary>The IRQL it must return with.</summary>
    public byte Irql { get; internal set; }

    /// <summary>A routine that was called meanwhile did not give the IRQL back.</summary>
    public bool GotOtherIrql { get; internal set; }

    /// <summary>A routine that was called meanwhile did not give them back.</summary>
    public bool GotOtherApcDisable { get; internal set; }

    /// <summary>Irp->PendingReturned when a completion routine was called.</summary>
    public bool PendingReturned { get; internal set; }

    /// <summary>The driver's location was marked pending before its completion routine was called.</summary>
    public bool MarkedBefore { get; internal set; }

    /// <summary>The routine marked the location pending.</summary>
    public bool Marked { get; internal set; }

    /// <summary>The last event that the routine set; null for none.</summary>
    public PKEVENT EventSet { get; internal set; }

    /// <summary>What the routine last completed: the IRP's number, and how often it had been sent then.</summary>
    internal (int Irp, int Forwards) LastCompleted { get; set; }

    /// <summary>How often APCs were disabled when it was called.</summary>
    public uint ApcDisable { get; internal set; }

    /// <summary>The PDO that an AddDevice routine was called for; says nothing of other routines.</summary>
    public PDEVICE_OBJECT PhysicalDevice { get; internal set; }

    /// <summary>The device object that an AddDevice routine created last; null if none yet. Says nothing of other routines.</summary>
    public PDEVICE_OBJECT Created { get; internal set; }

    /// <summary>What a completion routine's driver sent.</summary>
    internal SentIrp? Sent { get; set; }

    public CodePlace Place => new(machine, Driver, Routine, 0);

    internal void Begin(KernelThread thread, RoutineKind kind, ulong routine, PDRIVER_OBJECT driver, in IrpName irp, Visit? visit, sbyte location)
    {
        Kind = kind;
        Routine = routine;
        Driver = driver;
        Irql = thread.Irql;
        ApcDisable = thread.ApcDisable;
        Irp = irp;
        Visit = visit;
        Location = location;
        Context = default;
        GotOtherApcDisable = GotOtherIrql = PendingReturned = MarkedBefore = Marked = false;
        EventSet = default;
        LastCompleted = default;
        call = default;
        Sent = null;
        LastSent.Clear();
    }

    public override string ToString() => Place.ToString();
}

/// <summary>A call from driver code that the kernel is about to carry out.</summary>
/// <param name="Argument">The first argument; 0 if there is none.</param>
/// <param name="Irql">IRQL at the call.</param>
readonly record struct PendingCall(ulong Caller, ulong Argument, byte Irql)
{
    // Not the export itself: it is noted at every call, and copies of references are dear.
    readonly int number;

    internal PendingCall(KernelExport export, ulong caller, ulong argument, byte irql)
        : this(caller, argument, irql) => number = export.Index + 1;

    internal KernelExport? Export => number == 0 ? null : KernelExports.All[number - 1];
}
