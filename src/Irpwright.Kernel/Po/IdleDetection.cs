using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Sends devices to sleep that their drivers have not called busy for a time.</summary>
/// <remarks>The machine runs on mains power: the performance time counts.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-power-manager-routines-for-idle-detection"/>
public sealed class IdleDetection
{
    const uint Tag = 0x656C6449; // "Idle"
    const long Second = 10_000_000;
    const uint ClassDefault = uint.MaxValue;
    const uint ClassDefaultSeconds = 20 * 60;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, Registration> registrations = [];

    internal IdleDetection(Machine machine) => this.machine = machine;

    sealed class Registration(PDEVICE_OBJECT device, ulong counter)
    {
        internal PDEVICE_OBJECT Device { get; } = device;

        /// <summary>Address of the seconds without use.</summary>
        internal ulong Counter { get; } = counter;

        internal uint Seconds { get; set; }

        internal DEVICE_POWER_STATE State { get; set; }

        internal Interrupt? Tick { get; set; }
    }

    /// <summary>Begins, changes or ends idle detection of a device. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="ConservationIdleTime">Seconds when the system saves energy; 0 for never, -1 for the time of the device class (disks).</param>
    /// <param name="PerformanceIdleTime">Seconds otherwise.</param>
    /// <param name="State">What an idle device is set to.</param>
    /// <returns>The counter for PoSetDeviceBusyEx; null when detection ended, for an invalid time, or when memory is short.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PULONG PoRegisterDeviceForIdleDetection(PDEVICE_OBJECT DeviceObject, uint ConservationIdleTime, uint PerformanceIdleTime, DEVICE_POWER_STATE State, [Caller] ulong caller = 0)
    {
        bool isDisk = DeviceObject.DeviceType is FILE_DEVICE_DISK or FILE_DEVICE_MASS_STORAGE;
        if ((ConservationIdleTime == ClassDefault || PerformanceIdleTime == ClassDefault) && !isDisk) return default;
        lock (gate)
        {
            bool isKnown = registrations.TryGetValue(DeviceObject.Address, out Registration? registration);
            if (ConservationIdleTime == 0 && PerformanceIdleTime == 0)
            {
                if (isKnown) Remove(registration!);
                return default;
            }
            if (!isKnown)
            {
                ulong counter = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, sizeof(uint), Tag, caller, zero: true);
                if (counter == 0) return default;
                registrations.Add(DeviceObject.Address, registration = new Registration(DeviceObject, counter));
                registration.Tick = new Interrupt("idle detection", CLOCK_LEVEL, () => Elapse(registration));
            }
            GuestMemory.Ref<uint>(registration!.Counter) = 0;
            registration.Seconds = PerformanceIdleTime == ClassDefault ? ClassDefaultSeconds : PerformanceIdleTime;
            registration.State = State;
            Continue(registration);
            return new PULONG(registration.Counter);
        }
    }

    void Continue(Registration registration)
    {
        if (registration.Seconds != 0 && !registration.Tick!.IsPending) machine.Scheduler.Schedule(registration.Tick, machine.Scheduler.InterruptTime + Second);
    }

    void Remove(Registration registration)
    {
        registrations.Remove(registration.Device.Address);
        machine.Scheduler.Cancel(registration.Tick!);
        machine.Pool.Free(registration.Counter, Tag);
    }

    void Elapse(Registration registration)
    {
        lock (gate)
        {
            if (!registrations.ContainsValue(registration)) return;
            ref uint counter = ref GuestMemory.Ref<uint>(registration.Counter);
            if (++counter < registration.Seconds)
            {
                Continue(registration);
                return;
            }
            counter = 0;
            // While it is registered it exists; the thread comes later.
            machine.Objects.ObfReferenceObject(registration.Device);
        }
        // The clock stands still until the device works again: PoSetPowerState starts it.
        var state = new POWER_STATE { DeviceState = registration.State };
        machine.Scheduler.Start("power", ThreadKind.System, () =>
        {
            machine.PowerIrps.PoRequestPowerIrp(registration.Device, IRP_MN_SET_POWER, state, default, default, default(PVOID));
            machine.Objects.ObfDereferenceObject(registration.Device);
        });
    }

    internal void StateChanged(PDEVICE_OBJECT device, DEVICE_POWER_STATE state)
    {
        lock (gate)
        {
            if (registrations.Count == 0 || !registrations.TryGetValue(device.Address, out Registration? registration)) return;
            if (state == DEVICE_POWER_STATE.PowerDeviceD0) Continue(registration);
            else machine.Scheduler.Cancel(registration.Tick!);
        }
    }

    /// <summary>A device object goes away.</summary>
    internal void Forget(PDEVICE_OBJECT device)
    {
        lock (gate)
        {
            if (registrations.TryGetValue(device.Address, out Registration? registration)) Remove(registration);
        }
    }

    /// <summary>Says that a device is in use now; its idle time begins anew. Any IRQL.</summary>
    [KernelExport]
    public void PoSetDeviceBusyEx(PULONG IdlePointer) => GuestMemory.Ref<uint>(IdlePointer.Address) = 0;

    /// <summary>The header's macro for <see cref="PoSetDeviceBusyEx"/>. Any IRQL.</summary>
    [WdkInline]
    public void PoSetDeviceBusy(PULONG IdlePointer) => PoSetDeviceBusyEx(IdlePointer);
}
