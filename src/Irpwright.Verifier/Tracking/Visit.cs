namespace Irpwright.Verification.Tracking;

/// <summary>An IRP's stay with one driver: from IoCallDriver until the driver's stack location has been left for good.</summary>
/// <remarks>Lives on until the dispatch routine has returned too, which may be later. Objects are used again.</remarks>
public sealed class Visit
{
    readonly Machine machine;
    IrpName irp;

    internal Visit(Machine machine) => this.machine = machine;

    public ref readonly IrpName Irp => ref irp;

    /// <summary>The stay of the driver that sent the IRP here and has not got it back; null if that was its originator.</summary>
    public Visit? Above { get; internal set; }

    public PDEVICE_OBJECT Device { get; internal set; }

    /// <summary>The device that it is attached to; null for the lowest of its stack. As it was when the IRP came.</summary>
    public PDEVICE_OBJECT Below { get; internal set; }

    internal PDRIVER_OBJECT Driver { get; set; }

    public PDRIVER_DISPATCH Routine { get; internal set; }

    /// <summary>1-based stack location.</summary>
    public sbyte Location { get; internal set; }

    /// <summary>The driver set SL_PENDING_RETURNED in its location while it had the IRP.</summary>
    public bool Marked { get; internal set; }

    /// <summary>SL_PENDING_RETURNED was set when the IRP came: a mistake of the driver above, which hides this driver's own mark.</summary>
    public bool MarkedAtEntry { get; internal set; }

    /// <summary>False if the driver certainly did not mark the IRP pending.</summary>
    public bool MayHaveMarked => Marked || MarkedAtEntry;

    /// <summary>The driver sent the IRP on.</summary>
    public bool Forwarded { get; internal set; }

    /// <summary>It did so without a location of the receiver's own (IoSkipCurrentIrpStackLocation).</summary>
    public bool Skipped { get; internal set; }

    /// <summary>What IoCallDriver last returned to the dispatch routine for this IRP.</summary>
    public NTSTATUS? LowerStatus { get; internal set; }

    /// <summary>The lower driver's dispatch routine said something else about the IRP than was the case.</summary>
    public bool WasMisled { get; internal set; }

    /// <summary>The dispatch routine returned what the lower driver's told it, and that was wrong: not this driver's fault.</summary>
    public bool RepeatsAnError(NTSTATUS returned) => WasMisled && returned == LowerStatus;

    /// <summary>The driver's dispatch routine itself called IoCompleteRequest for it.</summary>
    public bool CompletedByDispatch { get; internal set; }

    /// <summary>IoCompleteRequest was called while the IRP was with this driver.</summary>
    public bool Completed { get; internal set; }

    /// <summary>The completion walk has left the driver's location.</summary>
    public bool Passed { get; internal set; }

    /// <summary>The status the IRP had then; null when it was freed or reused instead.</summary>
    public NTSTATUS? FinalStatus { get; internal set; }

    /// <summary>The status the IRP had when it came.</summary>
    public NTSTATUS EntryStatus { get; internal set; }

    /// <summary>Irp->IoStatus.Information when it came.</summary>
    public ulong EntryInformation { get; internal set; }

    /// <summary>The completion routine that the driver above registered in this driver's location.</summary>
    public PIO_COMPLETION_ROUTINE EntryRoutine { get; internal set; }

    /// <summary>The location's minor function when it came; the IRP itself may be gone when its dispatch routine returns.</summary>
    public byte MinorFunction { get; internal set; }

    /// <summary>The location's parameters when it came, of IRPs that do not just move data: no rule is about those of others.</summary>
    public IO_STACK_LOCATION.ParametersUnion Parameters { get; internal set; }

    /// <summary>What IoSetCompletionRoutineEx returned to the driver, if it called that.</summary>
    public NTSTATUS? Registration { get; internal set; }

    /// <summary>The driver queued the IRP where others take it from, before it marked it pending.</summary>
    public bool QueuedUnmarked { get; internal set; }

    /// <summary>The same with an interlocked list.</summary>
    public bool InterlockedUnmarked { get; internal set; }

    /// <summary>The driver requested a power IRP while it had this one.</summary>
    public bool RequestedPower { get; internal set; }

    /// <summary>What became of the IRP since the driver last sent it on; null if it has not.</summary>
    internal SentIrp? Sent { get; set; }

    /// <summary>A cancel routine that was set already when the IRP came.</summary>
    public PDRIVER_CANCEL InheritedCancelRoutine { get; internal set; }

    /// <summary>The object that the dispatch routine is waiting for.</summary>
    public PVOID WaitingFor { get; internal set; }

    /// <summary>The driver told its caller that it would complete the IRP later, and could do so.</summary>
    public bool Keeps => Result == NTSTATUS.STATUS_PENDING && (MayHaveMarked || Forwarded);

    /// <summary>What the dispatch routine returned; null before.</summary>
    internal NTSTATUS? Result { get; set; }

    internal bool Returned => Result is not null;

    /// <summary>Whether it is a request of a kind.</summary>
    public bool Is(byte majorFunction, byte minorFunction) => Irp.MajorFunction == majorFunction && MinorFunction == minorFunction;

    /// <summary>Whether it takes the system, or the device, to another power state.</summary>
    internal bool IsSetPower(POWER_STATE_TYPE type) => Is(IRP_MJ_POWER, IRP_MN_SET_POWER) && Parameters.Power.Type == type;

    /// <summary>The dispatch routine.</summary>
    public CodePlace Place => new(machine, Driver, Routine.Address, 0);

    internal void Begin(in IrpName name, in IRP packet, PDEVICE_OBJECT device, PDRIVER_DISPATCH routine, sbyte location, in IO_STACK_LOCATION own)
    {
        irp = name;
        EntryStatus = packet.IoStatus.Status;
        EntryInformation = packet.IoStatus.Information;
        EntryRoutine = own.CompletionRoutine;
        MinorFunction = own.MinorFunction;
        if (!irp.MovesData) Parameters = own.Parameters;
        InheritedCancelRoutine = packet.CancelRoutine;
        Device = device;
        ref DEVICE_OBJECT receiver = ref device.Value;
        PDEVOBJ_EXTENSION extension = receiver.DeviceObjectExtension;
        Below = extension.IsNull ? default : extension.AttachedTo;
        Driver = receiver.DriverObject;
        Routine = routine;
        Location = location;
        MarkedAtEntry = (own.Control & SL_CONTROL.SL_PENDING_RETURNED) != 0;
        WasMisled = Marked = Forwarded = Skipped = CompletedByDispatch = Completed = Passed = false;
        QueuedUnmarked = InterlockedUnmarked = RequestedPower = false;
        LowerStatus = FinalStatus = Registration = Result = null;
        Sent = null;
        WaitingFor = default;
    }

    public override string ToString() => Place.ToString();
}
