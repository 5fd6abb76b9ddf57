using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The power management framework: which components of a device are in use, and what power they need.</summary>
/// <remarks>
/// An idle component goes to its deepest state at once, and a device without active components needs no power after its idle time. Only
/// registrations of version 1 are supported. Handles are opaque.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/component-level-power-management"/>
public sealed class PowerFramework
{
    const uint Tag = 0x78466F50; // "PoFx"
    const uint KnownFlags = PO_FX_FLAG_BLOCKING | PO_FX_FLAG_ASYNC_ONLY;

    enum Condition
    {
        Active,
        /// <summary>Waits for PoFxCompleteIdleCondition.</summary>
        BecomingIdle,
        Idle,
        /// <summary>Waits for PoFxCompleteIdleState.</summary>
        ChangingState,
    }

    enum DevicePower
    {
        Required,
        /// <summary>Waits for PoFxCompleteDevicePowerNotRequired.</summary>
        BecomingNotRequired,
        NotRequired,
        /// <summary>Waits for PoFxReportDevicePoweredOn.</summary>
        BecomingRequired,
    }

    sealed class Component(uint index, uint deepestState)
    {
        internal uint Index { get; } = index;

        internal uint DeepestState { get; } = deepestState;

        /// <summary>Activations; the framework's own until power management starts.</summary>
        internal int References { get; set; } = 1;

        internal Condition Condition { get; set; }

        /// <summary>The functional power state; while it changes, the one that it changes to.</summary>
        internal uint State { get; set; }
    }

    sealed class Registration(PVOID handle, PDEVICE_OBJECT device, PO_FX_DEVICE_V1 callbacks, Component[] components)
    {
        internal PVOID Handle { get; } = handle;

        internal PDEVICE_OBJECT Device { get; } = device;

        internal PO_FX_DEVICE_V1 Callbacks { get; } = callbacks;

        internal Component[] Components { get; } = components;

        internal bool IsStarted { get; set; }

        internal DevicePower Power { get; set; }

        /// <summary>100 ns units.</summary>
        internal ulong IdleTimeout { get; set; }

        /// <summary>Counts activations: what waits for the device to stay idle has waited in vain when it changes.</summary>
        internal int IdlePeriod { get; set; }

        /// <summary>The idle period whose end is waited for.</summary>
        internal int WaitsFor { get; set; } = -1;

        internal List<KernelThread> Waiters { get; } = [];
    }

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<PVOID, Registration> registrations = [];

    internal PowerFramework(Machine machine) => this.machine = machine;

    // ---- Registration

    /// <summary>Registers a device, all of whose components are active until power management starts. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="Device">A PO_FX_DEVICE_V1.</param>
    /// <returns>STATUS_INVALID_PARAMETER, STATUS_INSUFFICIENT_RESOURCES.</returns>
    /// <exception cref="BugCheckException">INTERNAL_POWER_ERROR: the device is registered.</exception>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PoFxRegisterDevice(PDEVICE_OBJECT Pdo, PPO_FX_DEVICE_V1 Device, out PVOID Handle)
    {
        Handle = default;
        if (Pdo.IsNull) return NTSTATUS.STATUS_INVALID_PARAMETER;
        const uint newest = 3;
        if (Device.Version is > PO_FX_VERSION_V1 and <= newest)
            throw machine.BugChecks.StopUnsupported($"PoFxRegisterDevice was called for version {Device.Version} of PO_FX_DEVICE, which is not supported.");
        if (Device.Version != PO_FX_VERSION_V1 || Device.ComponentCount == 0) return NTSTATUS.STATUS_INVALID_PARAMETER;
        var components = new Component[Device.ComponentCount];
        bool hasStates = false;
        for (uint i = 0; i < components.Length; i++)
        {
            PO_FX_COMPONENT_V1 component = GuestMemory.Ref<PO_FX_COMPONENT_V1>(Device.Address + 0x40 + i * PO_FX_COMPONENT_V1.SizeOf);
            if (component.IdleStateCount == 0 || component.DeepestWakeableIdleState >= component.IdleStateCount || component.IdleStates.IsNull)
                return NTSTATUS.STATUS_INVALID_PARAMETER;
            hasStates |= component.IdleStateCount > 1;
            components[i] = new Component(i, component.IdleStateCount - 1);
        }
        PO_FX_DEVICE_V1 callbacks = Device.Value;
        if (hasStates && (callbacks.ComponentActiveConditionCallback.IsNull || callbacks.ComponentIdleConditionCallback.IsNull || callbacks.ComponentIdleStateCallback.IsNull))
            return NTSTATUS.STATUS_INVALID_PARAMETER;
        lock (gate)
        {
            if (registrations.Values.Any(r => r.Device == Pdo)) throw Stop(0x600, Pdo, 0, 0, $"The device {Pdo} was registered with the power management framework twice.");
        }
        ulong handle = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, 16, Tag, 0, zero: true);
        if (handle == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        Handle = new PVOID(handle);
        lock (gate) registrations.Add(Handle, new Registration(Handle, Pdo, callbacks, components));
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Lets components be idle that the driver has not activated. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void PoFxStartDevicePowerManagement(PVOID Handle)
    {
        Registration device = Find(Handle);
        lock (gate)
        {
            if (device.IsStarted) return;
            device.IsStarted = true;
            foreach (Component component in device.Components) component.References--;
        }
        foreach (Component component in device.Components) Advance(device, component);
    }

    /// <summary>Ends the registration of a device that is removed. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public void PoFxUnregisterDevice(PVOID Handle)
    {
        Registration device = Find(Handle);
        lock (gate) registrations.Remove(Handle);
        machine.Pool.Free(device.Handle.Address, Tag);
    }

    /// <summary>Sets for how long all components must be idle before the device needs no power. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="IdleTimeout">100 ns units; 0 at first.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxSetDeviceIdleTimeout(PVOID Handle, ulong IdleTimeout)
    {
        Registration device = Find(Handle);
        lock (gate) device.IdleTimeout = IdleTimeout;
    }

    Registration Find(PVOID handle)
    {
        lock (gate) if (registrations.TryGetValue(handle, out Registration? device)) return device;
        throw machine.BugChecks.Unhandled(NTSTATUS.STATUS_ACCESS_VIOLATION, 0, handle.Address, 0,
            $"The power management framework was called with {handle}, which is no handle that PoFxRegisterDevice returned, or was unregistered.");
    }

    BugCheckException Stop(ulong code, PVOID parameter2, ulong parameter3, ulong parameter4, string explanation) =>
        machine.BugChecks.Stop(BugCheckCode.INTERNAL_POWER_ERROR, code, parameter2.Address, parameter3, parameter4, explanation);

    // ---- Activation

    /// <summary>Takes a reference to a component, which is or becomes active. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Flags">PO_FX_FLAG_BLOCKING below DISPATCH_LEVEL, or PO_FX_FLAG_ASYNC_ONLY, or 0.</param>
    /// <exception cref="BugCheckException">INTERNAL_POWER_ERROR for parameters that are not allowed.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxActivateComponent(PVOID Handle, uint Component, uint Flags)
    {
        Registration device = Find(Handle);
        Component component = Check(device, Component, Flags);
        bool changes;
        lock (gate)
        {
            changes = component.References++ == 0;
            device.IdlePeriod++;
        }
        if (changes) Advance(device, component, Flags);
        if ((Flags & PO_FX_FLAG_BLOCKING) == 0) return;
        KernelThread thread = machine.CurrentThread;
        lock (gate) device.Waiters.Add(thread);
        machine.Dispatcher.WaitUntil(thread, () => component.Condition == Condition.Active, "waits for a component to become active");
        lock (gate) device.Waiters.Remove(thread);
    }

    /// <summary>Gives a reference to a component back; with the last one it becomes idle. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="PoFxActivateComponent"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxIdleComponent(PVOID Handle, uint Component, uint Flags)
    {
        Registration device = Find(Handle);
        Component component = Check(device, Component, Flags);
        int left;
        lock (gate) left = --component.References;
        if (left < 0) throw Stop(0x608, Handle, Component, 0, $"PoFxIdleComponent was called for component {Component}, which the driver has not activated.");
        if (left == 0) Advance(device, component, Flags);
        if ((Flags & PO_FX_FLAG_BLOCKING) == 0) return;
        KernelThread thread = machine.CurrentThread;
        lock (gate) device.Waiters.Add(thread);
        machine.Dispatcher.WaitUntil(thread, () => component.References > 0 || component.Condition is Condition.Idle or Condition.ChangingState, "waits for a component to become idle");
        lock (gate) device.Waiters.Remove(thread);
    }

    Component Check(Registration device, uint component, uint flags)
    {
        int problem = (flags & PO_FX_FLAG_BLOCKING) != 0 && machine.CurrentThread.Irql >= DISPATCH_LEVEL ? 0
            : (flags & KnownFlags) == KnownFlags ? 1 : component >= device.Components.Length ? 2 : -1;
        return problem < 0 ? device.Components[component] : throw Stop(0x614, device.Handle, component, (ulong)problem,
            $"Component {component} of a device with {device.Components.Length} was to be activated or idled with flags 0x{flags:x} at IRQL {machine.CurrentThread.Irql}.");
    }

    // ---- Completions

    /// <summary>Answers ComponentIdleConditionCallback. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <exception cref="BugCheckException">INTERNAL_POWER_ERROR: nobody asked.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxCompleteIdleCondition(PVOID Handle, uint Component)
    {
        Registration device = Find(Handle);
        Component component = Check(device, Component, 0);
        Complete(device, Component, 2, () => component.Condition == Condition.BecomingIdle, () => component.Condition = Condition.Idle);
        Advance(device, component);
    }

    /// <summary>Answers ComponentIdleStateCallback. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="PoFxCompleteIdleCondition"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxCompleteIdleState(PVOID Handle, uint Component)
    {
        Registration device = Find(Handle);
        Component component = Check(device, Component, 0);
        Complete(device, Component, 3, () => component.Condition == Condition.ChangingState, () => component.Condition = Condition.Idle);
        Advance(device, component);
    }

    /// <summary>Answers DevicePowerNotRequiredCallback. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <inheritdoc cref="PoFxCompleteIdleCondition"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxCompleteDevicePowerNotRequired(PVOID Handle)
    {
        Registration device = Find(Handle);
        Complete(device, 0, 0, () => device.Power == DevicePower.BecomingNotRequired, () => device.Power = DevicePower.NotRequired);
        foreach (Component component in device.Components) Advance(device, component);
    }

    /// <summary>The device is in D0 again: answers DevicePowerRequiredCallback, and said after each S0 request. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoFxReportDevicePoweredOn(PVOID Handle)
    {
        Registration device = Find(Handle);
        lock (gate) device.Power = DevicePower.Required;
        foreach (Component component in device.Components) Advance(device, component);
    }

    void Complete(Registration device, uint component, ulong request, Func<bool> isPending, Action change)
    {
        lock (gate)
        {
            if (!isPending()) throw Stop(0x613, device.Handle, component, request, $"The driver has completed a request of the power management framework that nobody made, for component {component}.");
            change();
        }
    }

    // ---- What comes next

    /// <summary>Does for a component what must be done next, until an answer of the driver is needed.</summary>
    void Advance(Registration device, Component component, uint flags = 0)
    {
        if ((flags & PO_FX_FLAG_ASYNC_ONLY) != 0)
        {
            machine.Scheduler.Start("power framework", ThreadKind.System, () => Advance(device, component));
            return;
        }
        while (Next(device, component) is { } action) action();
        KernelThread[] waiters;
        lock (gate) waiters = [.. device.Waiters];
        foreach (KernelThread waiter in waiters) machine.Scheduler.Unblock(waiter);
    }

    /// <summary>Changes what is to be changed, and returns what the driver is to be told; null if nothing follows.</summary>
    Action? Next(Registration device, Component component)
    {
        PO_FX_DEVICE_V1 callbacks = device.Callbacks;
        PVOID context = callbacks.DeviceContext;
        uint index = component.Index;
        lock (gate)
        {
            bool isWanted = component.References > 0;
            switch (component.Condition)
            {
                case Condition.Active when !isWanted:
                    component.Condition = callbacks.ComponentIdleConditionCallback.IsNull ? Condition.Idle : Condition.BecomingIdle;
                    return component.Condition == Condition.Idle ? Nothing : () => machine.Code.Call(callbacks.ComponentIdleConditionCallback, context, index);
                case Condition.Idle when isWanted && device.Power != DevicePower.Required:
                    if (device.Power != DevicePower.NotRequired) return null;
                    device.Power = callbacks.DevicePowerRequiredCallback.IsNull ? DevicePower.Required : DevicePower.BecomingRequired;
                    return device.Power == DevicePower.Required ? Nothing : () => machine.Code.Call(callbacks.DevicePowerRequiredCallback, context);
                case Condition.Idle when isWanted && component.State == 0:
                    component.Condition = Condition.Active;
                    return callbacks.ComponentActiveConditionCallback.IsNull ? Nothing : () => machine.Code.Call(callbacks.ComponentActiveConditionCallback, context, index);
                case Condition.Idle when component.State != (isWanted ? 0 : component.DeepestState):
                    component.Condition = Condition.ChangingState;
                    uint state = component.State = isWanted ? 0 : component.DeepestState;
                    return () => machine.Code.Call(callbacks.ComponentIdleStateCallback, context, index, state);
                case Condition.Idle when device.WaitsFor != device.IdlePeriod && IsIdle(device):
                    int period = device.WaitsFor = device.IdlePeriod;
                    return () => machine.Scheduler.Start("power framework", ThreadKind.System, () => PowerDown(device, period));
                default:
                    return null;
            }
        }
    }

    static readonly Action Nothing = static () => { };

    static bool IsIdle(Registration device) => device.IsStarted && device.Power == DevicePower.Required &&
        device.Components.All(c => c is { References: 0, Condition: Condition.Idle } && c.State == c.DeepestState);

    /// <summary>Waits for the idle time to elapse; if nothing was used meanwhile, the device needs no power.</summary>
    void PowerDown(Registration device, int period)
    {
        ulong timeout;
        lock (gate) timeout = device.IdleTimeout;
        if (timeout > 0) machine.Dispatcher.KeDelayExecutionThread(MODE.KernelMode, false, -(long)Math.Min(timeout, long.MaxValue));
        PO_FX_DEVICE_V1 callbacks = device.Callbacks;
        lock (gate)
        {
            if (device.IdlePeriod != period || !IsIdle(device) || !registrations.ContainsKey(device.Handle)) return;
            device.Power = callbacks.DevicePowerNotRequiredCallback.IsNull ? DevicePower.NotRequired : DevicePower.BecomingNotRequired;
            if (device.Power == DevicePower.NotRequired) return;
        }
        machine.Code.Call(callbacks.DevicePowerNotRequiredCallback, callbacks.DeviceContext);
    }
}
