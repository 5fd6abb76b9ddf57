using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Power requests: made, sent one at a time to each device stack, watched, and given back to who asked for them.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-power-irps"/>
public sealed class PowerIrps
{
    const uint TriageTag = 0x67697254; // "Trig"
    const int TriageSize = 0x20; // TRIAGE_9F_POWER
    const int TriageSignature = 0x1_8000; // signature 0x8000, revision 1

    readonly Machine machine;
    readonly Lock gate = new();
    // A stack and a kind of request (system or device) that is active, with those that wait for it.
    readonly Dictionary<(ulong Stack, POWER_STATE_TYPE Type), Queue<Request>> active = [];
    readonly List<Request> sent = [];
    readonly Queue<Request> waitingForInrush = new();
    bool isInrushActive;

    internal PowerIrps(Machine machine) => this.machine = machine;

    sealed record Request(PDEVICE_OBJECT Target, PDEVICE_OBJECT Top, PDEVICE_OBJECT Bottom, PIRP Irp, byte Minor, POWER_STATE State, POWER_STATE_TYPE Type)
    {
        internal PREQUEST_POWER_COMPLETE Callback { get; init; }

        internal PVOID Context { get; init; }

        internal Action<RequestAnswer>? Done { get; init; }

        internal bool NeedsInrush { get; init; }

        internal Interrupt? Watchdog { get; set; }

        internal bool IsSerialised => Minor is IRP_MN_SET_POWER or IRP_MN_QUERY_POWER;
    }

    /// <summary>How long drivers may keep a request to query or set a power state.</summary>
    /// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-0x9f--driver-power-state-failure"/>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Makes a power request and sends it to the top of a device's stack, or holds it until the one before is over. IRQL &lt;=
    /// DISPATCH_LEVEL. (POWER-01, POWER-02, POWER-08)
    /// </summary>
    /// <param name="State">A device power state; for IRP_MN_WAIT_WAKE the lowest system power state to wake from.</param>
    /// <param name="CompletionFunction">Called once when all drivers are done with the request, perhaps before this returns; may be null.</param>
    /// <param name="Irp">Null, or with IRP_MN_WAIT_WAKE a pointer that receives the packet, for IoCancelIrp.</param>
    /// <returns>STATUS_PENDING; STATUS_INVALID_PARAMETER_2 for another minor code; STATUS_INSUFFICIENT_RESOURCES.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS PoRequestPowerIrp(PDEVICE_OBJECT DeviceObject, byte MinorFunction, POWER_STATE PowerState, PREQUEST_POWER_COMPLETE CompletionFunction, PVOID Context, PVOID Irp)
    {
        if (MinorFunction is not (IRP_MN_WAIT_WAKE or IRP_MN_SET_POWER or IRP_MN_QUERY_POWER)) return NTSTATUS.STATUS_INVALID_PARAMETER_2;
        Request? request = Create(DeviceObject, MinorFunction, PowerState, POWER_STATE_TYPE.DevicePowerState, machine.Power.Action, 0, CompletionFunction, Context, null);
        if (request is null) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        if (!Irp.IsNull) GuestMemory.Ref<PIRP>(Irp.Address) = request.Irp;
        Submit(request);
        return NTSTATUS.STATUS_PENDING;
    }

    /// <summary>As <see cref="PoRequestPowerIrp(PDEVICE_OBJECT, byte, POWER_STATE, PREQUEST_POWER_COMPLETE, PVOID, PVOID)"/>, with the packet for IoCancelIrp.</summary>
    [WdkInline]
    public NTSTATUS PoRequestPowerIrp(
        PDEVICE_OBJECT DeviceObject, byte MinorFunction, POWER_STATE PowerState, PREQUEST_POWER_COMPLETE CompletionFunction, PVOID Context, out PIRP Irp)
    {
        ulong variable = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, 8, TriageTag, 0, zero: true);
        NTSTATUS status = PoRequestPowerIrp(DeviceObject, MinorFunction, PowerState, CompletionFunction, Context, new PVOID(variable));
        Irp = GuestMemory.Ref<PIRP>(variable);
        machine.Pool.Free(variable, TriageTag);
        return status;
    }

    /// <summary>Sends a system power request with any minor code to the device's stack, and waits; what the drivers answered.</summary>
    public RequestAnswer Send(DeviceNode node, byte minorFunction) => machine.PlugAndPlay.Do(() =>
        SendSystemRequest(node, minorFunction, SYSTEM_POWER_STATE.PowerSystemWorking, POWER_ACTION.PowerActionNone, 0));

    /// <summary>Sends a system power request and waits until all drivers are done with it; what they answered.</summary>
    internal RequestAnswer SendSystemRequest(DeviceNode node, byte minor, SYSTEM_POWER_STATE state, POWER_ACTION action, uint systemContext)
    {
        KernelThread thread = machine.CurrentThread;
        RequestAnswer answer = default;
        bool isDone = false;
        var powerState = new POWER_STATE { SystemState = state };
        Request? request = Create(node.PhysicalDevice, minor, powerState, POWER_STATE_TYPE.SystemPowerState, action, systemContext, default, default, result =>
        {
            answer = result;
            Volatile.Write(ref isDone, true);
            machine.Scheduler.Unblock(thread);
        });
        if (request is null) return new RequestAnswer(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, 0);
        Submit(request);
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref isDone), $"waits for {node} to answer a power request");
        return answer;
    }

    /// <summary>Sets the power state of a device, as its policy owner would, and waits; what the drivers answered.</summary>
    public NTSTATUS SetDevicePower(DeviceNode node, DEVICE_POWER_STATE state) => machine.PlugAndPlay.Do(() =>
    {
        KernelThread thread = machine.CurrentThread;
        NTSTATUS status = NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        bool isDone = false;
        var powerState = new POWER_STATE { DeviceState = state };
        Request? request = Create(node.PhysicalDevice, IRP_MN_SET_POWER, powerState, POWER_STATE_TYPE.DevicePowerState, POWER_ACTION.PowerActionNone, 0, default, default, answer =>
        {
            status = answer.Status;
            Volatile.Write(ref isDone, true);
            machine.Scheduler.Unblock(thread);
        });
        if (request is null) return status;
        Submit(request);
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref isDone), $"waits for {node} to change its power state");
        return status;
    });

    Request? Create(PDEVICE_OBJECT target, byte minor, POWER_STATE state, POWER_STATE_TYPE type, POWER_ACTION action, uint systemContext,
        PREQUEST_POWER_COMPLETE callback, PVOID context, Action<RequestAnswer>? done)
    {
        PDEVICE_OBJECT top = machine.Devices.IoGetAttachedDeviceReference(target);
        PIRP irp = machine.Irps.Allocate(top.StackSize, IrpOrigin.Power);
        if (irp.IsNull)
        {
            machine.Objects.ObfDereferenceObject(top);
            return null;
        }
        irp.IoStatus.Status = NTSTATUS.STATUS_NOT_SUPPORTED;
        irp.Tail.Overlay.Thread = machine.CurrentThread.Object;
        PIO_STACK_LOCATION location = IrpStackLocations.IoGetNextIrpStackLocation(irp);
        location.MajorFunction = IRP_MJ_POWER;
        location.MinorFunction = minor;
        if (minor == IRP_MN_WAIT_WAKE)
            location.Parameters.WaitWake.PowerState = state.SystemState;
        else
            location.Parameters.Power = new() { SystemContext = systemContext, Type = type, State = state, ShutdownType = action };
        bool isPowerUp = minor == IRP_MN_SET_POWER && type == POWER_STATE_TYPE.DevicePowerState && state.DeviceState == DEVICE_POWER_STATE.PowerDeviceD0;
        PDEVICE_OBJECT bottom = target;
        while (bottom.DeviceObjectExtension.AttachedTo is { IsNull: false } lower) bottom = lower;
        return new Request(target, top, bottom, irp, minor, state, type)
        {
            Callback = callback,
            Context = context,
            Done = done,
            NeedsInrush = isPowerUp && HasFlag(bottom, DO_POWER_INRUSH),
        };
    }

    static bool HasFlag(PDEVICE_OBJECT bottom, DO_FLAGS flag)
    {
        for (PDEVICE_OBJECT device = bottom; !device.IsNull; device = device.AttachedDevice)
        {
            if ((device.Flags & flag) != 0) return true;
        }
        return false;
    }

    void Submit(Request request)
    {
        if (request.IsSerialised)
        {
            lock (gate)
            {
                if (active.TryGetValue((request.Bottom.Address, request.Type), out Queue<Request>? waiting))
                {
                    waiting.Enqueue(request);
                    return;
                }
                active.Add((request.Bottom.Address, request.Type), new Queue<Request>());
            }
        }
        Start(request);
    }

    void Start(Request request, bool mayDrawInrush = false)
    {
        if (request.NeedsInrush && !mayDrawInrush)
        {
            lock (gate)
            {
                if (isInrushActive)
                {
                    waitingForInrush.Enqueue(request);
                    return;
                }
                isInrushActive = true;
            }
        }
        lock (gate) sent.Add(request);
        machine.Completion.TakeBack(request.Irp, _ => Finish(request));
        if (request.IsSerialised)
        {
            request.Watchdog = new Interrupt("power watchdog", CLOCK_LEVEL, () => TimedOut(request)) { IsWatchdog = true };
            machine.Scheduler.Schedule(request.Watchdog, machine.Scheduler.InterruptTime + Timeout.Ticks);
        }
        KernelThread thread = machine.CurrentThread;
        bool atDispatchLevel = request.NeedsInrush && thread.Irql < DISPATCH_LEVEL && (request.Top.Flags & DO_POWER_PAGABLE) == 0;
        byte before = thread.Irql;
        if (atDispatchLevel) machine.Irqls.Raise(thread, DISPATCH_LEVEL);
        machine.Dispatch.IoCallDriver(request.Top, request.Irp);
        if (atDispatchLevel) machine.Irqls.Lower(thread, before);
    }

    /// <summary>In the completing context: tells who asked, releases the packet, and lets the next request begin.</summary>
    void Finish(Request request)
    {
        lock (gate) sent.Remove(request);
        if (request.Watchdog is { } watchdog) machine.Scheduler.Cancel(watchdog);
        PIRP irp = request.Irp;
        var answer = new RequestAnswer(irp.IoStatus.Status, irp.IoStatus.Information);
        if (!request.Callback.IsNull)
            machine.Code.Call(request.Callback, request.Target, request.Minor, request.State, request.Context, new PIO_STATUS_BLOCK(irp.Address + IoStatusOffset));
        Release(request);
        request.Done?.Invoke(answer);
    }

    const ulong IoStatusOffset = 0x30;

    void Release(Request request)
    {
        lock (gate) wakers.Remove(request.Irp.Address);
        machine.Irps.IoFreeIrp(request.Irp);
        machine.Objects.ObfDereferenceObject(request.Top);
        Request? next = null, nextInrush = null;
        lock (gate)
        {
            if (request.NeedsInrush && !waitingForInrush.TryDequeue(out nextInrush)) isInrushActive = false;
            (ulong, POWER_STATE_TYPE) stack = (request.Bottom.Address, request.Type);
            if (request.IsSerialised && !active[stack].TryDequeue(out next)) active.Remove(stack);
        }
        if (nextInrush is not null) Start(nextInrush, mayDrawInrush: true);
        if (next is not null) Start(next);
    }

    void TimedOut(Request request)
    {
        // It has ended while the clock was about to tell that it has not.
        lock (gate) if (!sent.Contains(request)) return;
        ulong triage = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, TriageSize, TriageTag, 0, zero: true);
        if (triage != 0) GuestMemory.Ref<int>(triage) = TriageSignature;
        PIRP irp = request.Irp;
        PDEVICE_OBJECT holder = irp.CurrentLocation <= irp.StackCount ? irp.Tail.Overlay.CurrentStackLocation.DeviceObject : request.Top;
        string driver = machine.Drivers.Find(holder.DriverObject)?.Name ?? "a driver";
        throw machine.BugChecks.Stop(BugCheckCode.DRIVER_POWER_STATE_FAILURE, 3, request.Bottom.Address, triage, irp.Address,
            $"{driver} ({machine.Objects.NameOf(holder)}) has kept a power request for more than {Timeout.TotalSeconds:0} s.");
    }

    /// <summary>A device object is being deleted: it must not have a power request.</summary>
    internal void RequireIdle(PDEVICE_OBJECT device)
    {
        bool isBusy;
        lock (gate)
        {
            if (sent.Count == 0) return;
            isBusy = sent.Exists(request => request.IsSerialised && request.Irp.CurrentLocation <= request.Irp.StackCount
                && request.Irp.Tail.Overlay.CurrentStackLocation.DeviceObject == device);
        }
        if (!isBusy) return;
        throw machine.BugChecks.Stop(BugCheckCode.DRIVER_POWER_STATE_FAILURE, 1, device.Address, 0, 0,
            $"{machine.Objects.NameOf(device)} was deleted while its driver has a power request that it has not completed.");
    }

    /// <summary>
    /// A power request has entered a driver's location: pageable drivers get it at PASSIVE_LEVEL, in a system thread if need be
    /// (CALL-14, POWER-08).
    /// </summary>
    /// <returns>True if another thread calls the dispatch routine; the location is marked pending then.</returns>
    internal bool Defers(PDEVICE_OBJECT device, PIRP irp)
    {
        PIO_STACK_LOCATION location = irp.Tail.Overlay.CurrentStackLocation;
        if (location.MinorFunction is not (IRP_MN_SET_POWER or IRP_MN_QUERY_POWER)) return false;
        if ((device.Flags & DO_POWER_PAGABLE) == 0 || machine.CurrentThread.Irql == PASSIVE_LEVEL) return false;
        location.Control |= SL_PENDING_RETURNED;
        machine.Scheduler.Start("power", ThreadKind.System, () => machine.Dispatch.CallEntered(device, irp));
        return true;
    }

    // ---- Power states of devices

    /// <summary>
    /// Tells the power manager a device's new power state. IRQL &lt;= APC_LEVEL, for D0 &lt;= DISPATCH_LEVEL.
    /// </summary>
    /// <param name="Type">DevicePowerState.</param>
    /// <returns>The state before.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public POWER_STATE PoSetPowerState(PDEVICE_OBJECT DeviceObject, POWER_STATE_TYPE Type, POWER_STATE State)
    {
        PDEVOBJ_EXTENSION extension = DeviceObject.DeviceObjectExtension;
        int shift = Type == POWER_STATE_TYPE.DevicePowerState ? DeviceStateShift : 0;
        uint flags = extension.PowerFlags;
        var before = new POWER_STATE { DeviceState = (DEVICE_POWER_STATE)(flags >> shift & StateMask) };
        extension.PowerFlags = flags & ~(StateMask << shift) | (uint)State.DeviceState << shift;
        if (before.DeviceState == State.DeviceState) return before;
        machine.Events.Emit(new PowerStateSet(DeviceObject, Type, before, State));
        if (Type == POWER_STATE_TYPE.DevicePowerState) machine.IdleDetection.StateChanged(DeviceObject, State.DeviceState);
        return before;
    }

    // In DEVOBJ_EXTENSION.PowerFlags.
    const int DeviceStateShift = 4;
    const uint StateMask = 0xF;

    /// <summary>The power state that a device's driver last told; PowerDeviceUnspecified if none.</summary>
    public static DEVICE_POWER_STATE StateOf(PDEVICE_OBJECT device) =>
        (DEVICE_POWER_STATE)(device.DeviceObjectExtension.PowerFlags >> DeviceStateShift & StateMask);

    // ---- Waking the system

    readonly HashSet<ulong> wakers = [];

    /// <summary>Marks a wait/wake request as one that woke the system. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoSetSystemWake(PIRP Irp)
    {
        lock (gate) wakers.Add(Irp.Address);
    }

    /// <summary>Whether a wait/wake request woke the system. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN PoGetSystemWake(PIRP Irp)
    {
        lock (gate) return wakers.Contains(Irp.Address);
    }
}
