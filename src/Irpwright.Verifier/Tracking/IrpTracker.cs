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
public sealed partial class IrpTracker
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
}
