using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The power state of the system: it asks all devices, sends them to sleep, and wakes them up.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/power-irps-for-the-system"/>
public sealed class SystemPower
{
    const uint Tag = 0x72776F50; // "Powr"

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, uint> busyStates = [];

    internal SystemPower(Machine machine) => this.machine = machine;

    public SYSTEM_POWER_STATE State { get; private set; } = SYSTEM_POWER_STATE.PowerSystemWorking;

    /// <summary>What the system is about, while it changes its state.</summary>
    public POWER_ACTION Action { get; private set; }

    /// <summary>
    /// Asks every device whether the system may leave the working state, children before parents, and tells them in the same order
    /// that it does. Serialised with everything the PnP manager does.
    /// </summary>
    /// <param name="state">S1 to S5.</param>
    /// <param name="action">What it is for; by the state if PowerActionNone.</param>
    /// <param name="critical">Does not ask, as when the battery is empty.</param>
    /// <returns>What the driver that refused answered; all that were asked have been told then that the system goes on working.</returns>
    public NTSTATUS Sleep(SYSTEM_POWER_STATE state, POWER_ACTION action = POWER_ACTION.PowerActionNone, bool critical = false)
    {
        if (state is <= SYSTEM_POWER_STATE.PowerSystemWorking or >= SYSTEM_POWER_STATE.PowerSystemMaximum)
            throw new ArgumentOutOfRangeException(nameof(state), state, "The system sleeps in S1 to S5.");
        if (action == POWER_ACTION.PowerActionNone) action = ActionFor(state);
        return machine.PlugAndPlay.Do(() => Leave(state, action, critical));
    }

    static POWER_ACTION ActionFor(SYSTEM_POWER_STATE state) => state switch
    {
        SYSTEM_POWER_STATE.PowerSystemHibernate => POWER_ACTION.PowerActionHibernate,
        SYSTEM_POWER_STATE.PowerSystemShutdown => POWER_ACTION.PowerActionShutdownOff,
        _ => POWER_ACTION.PowerActionSleep,
    };

    NTSTATUS Leave(SYSTEM_POWER_STATE state, POWER_ACTION action, bool critical)
    {
        if (State != SYSTEM_POWER_STATE.PowerSystemWorking) return NTSTATUS.STATUS_INVALID_DEVICE_STATE;
        Action = action;
        List<DeviceNode> childrenFirst = Devices();
        childrenFirst.Reverse();
        uint context = Context(State, state);
        var asked = new List<DeviceNode>();
        foreach (DeviceNode node in critical ? [] : childrenFirst)
        {
            asked.Add(node);
            NTSTATUS status = machine.PowerIrps.SendSystemRequest(node, IRP_MN_QUERY_POWER, state, action, context).Status;
            // A stack in which nobody knows the request has nothing against it.
            if (status >= 0 || status == NTSTATUS.STATUS_NOT_SUPPORTED) continue;
            foreach (DeviceNode told in Enumerable.Reverse(asked)) Set(told, State, POWER_ACTION.PowerActionNone, Context(State, State));
            Action = POWER_ACTION.PowerActionNone;
            return status;
        }
        foreach (DeviceNode node in childrenFirst) Set(node, state, action, context);
        Change(state);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Tells every device that the system works again, parents before children.</summary>
    public void Wake() => machine.PlugAndPlay.Do(() =>
    {
        if (State == SYSTEM_POWER_STATE.PowerSystemWorking) return;
        uint context = Context(State, SYSTEM_POWER_STATE.PowerSystemWorking);
        Action = POWER_ACTION.PowerActionSleep;
        foreach (DeviceNode node in Devices()) Set(node, SYSTEM_POWER_STATE.PowerSystemWorking, Action, context);
        Change(SYSTEM_POWER_STATE.PowerSystemWorking);
    });

    void Change(SYSTEM_POWER_STATE state)
    {
        machine.Events.Emit(new SystemPowerChanged(State, state));
        State = state;
        Action = POWER_ACTION.PowerActionNone;
    }

    void Set(DeviceNode node, SYSTEM_POWER_STATE state, POWER_ACTION action, uint context) =>
        machine.PowerIrps.SendSystemRequest(node, IRP_MN_SET_POWER, state, action, context);

    List<DeviceNode> Devices() => [.. machine.PlugAndPlay.Nodes.Where(node => node.State is not (DeviceNodeState.Enumerated or DeviceNodeState.SurpriseRemoved))];

    /// <summary>SYSTEM_POWER_STATE_CONTEXT: target state from bit 8, effective state from bit 12, current state from bit 16.</summary>
    static uint Context(SYSTEM_POWER_STATE from, SYSTEM_POWER_STATE to) => (uint)to << 8 | (uint)to << 12 | (uint)from << 16;

    // ---- Who keeps the system awake

    /// <summary>Flags of the registrations that are in force, as ES_SYSTEM_REQUIRED.</summary>
    public uint BusyFlags
    {
        get { lock (gate) return busyStates.Values.Aggregate(0u, (all, flags) => all | flags); }
    }

    /// <summary>Says that the system is in use now. Any state that it keeps is over at once. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void PoSetSystemState(uint Flags)
    {
        // Restarts the countdown to sleep; this system sleeps only when it is told to.
    }

    /// <summary>Says for how long to stay awake: until the registration is changed or ended. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="StateHandle">Null, or a registration to change.</param>
    /// <param name="Flags">ES_*.</param>
    /// <returns>The registration; null when memory is short.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID PoRegisterSystemState(PVOID StateHandle, uint Flags, [Caller] ulong caller = 0)
    {
        ulong handle = StateHandle.IsNull ? machine.Pool.Allocate(POOL_TYPE.NonPagedPool, sizeof(uint), Tag, caller) : StateHandle.Address;
        if (handle == 0) return default;
        GuestMemory.Ref<uint>(handle) = Flags;
        lock (gate) busyStates[handle] = Flags;
        return new PVOID(handle);
    }

    /// <summary>Ends a registration. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void PoUnregisterSystemState(PVOID StateHandle)
    {
        lock (gate)
        {
            if (!busyStates.Remove(StateHandle.Address)) return;
        }
        machine.Pool.Free(StateHandle.Address, Tag);
    }
}
