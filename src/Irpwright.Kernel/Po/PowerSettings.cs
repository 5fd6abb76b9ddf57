using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Settings that drivers watch: where the power comes from, whether the lid is open, and others, by their GUIDs.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-poregisterpowersettingcallback"/>
public sealed class PowerSettings
{
    const uint Tag = 0x53776F50; // "PowS"

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, (Guid Setting, PPOWER_SETTING_CALLBACK Callback, PVOID Context)> registrations = [];

    // A computer at the mains with its lid and display open.
    readonly Dictionary<Guid, byte[]> values = new()
    {
        [GUID_ACDC_POWER_SOURCE] = BitConverter.GetBytes(0),
        [GUID_LIDSWITCH_STATE_CHANGE] = BitConverter.GetBytes(1),
        [GUID_MONITOR_POWER_ON] = BitConverter.GetBytes(1),
        [GUID_CONSOLE_DISPLAY_STATE] = BitConverter.GetBytes(1),
        [GUID_BATTERY_PERCENTAGE_REMAINING] = BitConverter.GetBytes(100),
        [GUID_SYSTEM_AWAYMODE] = BitConverter.GetBytes(0),
    };

    internal PowerSettings(Machine machine) => this.machine = machine;

    /// <summary>Changes a setting; drivers that watch it are told in the thread of the PnP manager, and waited for.</summary>
    public void Set(Guid setting, ReadOnlyMemory<byte> value)
    {
        lock (gate) values[setting] = value.ToArray();
        machine.PlugAndPlay.Do(() =>
        {
            ulong[] told;
            lock (gate) told = [.. registrations.Where(r => r.Value.Setting == setting).Select(r => r.Key)];
            foreach (ulong handle in told) Tell(handle);
        });
    }

    void Tell(ulong handle)
    {
        (Guid Setting, PPOWER_SETTING_CALLBACK Callback, PVOID Context) registration;
        byte[]? value;
        lock (gate)
        {
            if (!registrations.TryGetValue(handle, out registration) || !values.TryGetValue(registration.Setting, out value)) return;
        }
        const int guidSize = 16;
        ulong block = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)(guidSize + value.Length), Tag, 0);
        if (block == 0) return;
        GuestMemory.Ref<Guid>(block) = registration.Setting;
        value.CopyTo(GuestMemory.Write(block + guidSize, value.Length));
        machine.Code.Call(registration.Callback, new PGUID(block), new PVOID(block + guidSize), (uint)value.Length, registration.Context);
        machine.Pool.Free(block, Tag);
    }

    /// <summary>Registers a callback for a setting; it is called at once with the present value, if there is one. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="DeviceObject">For debugging; may be null.</param>
    /// <param name="Handle">Null, or a pointer that receives the registration.</param>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PoRegisterPowerSettingCallback(
        PDEVICE_OBJECT DeviceObject, in Guid SettingGuid, PPOWER_SETTING_CALLBACK Callback, PVOID Context, PVOID Handle, [Caller] ulong caller = 0)
    {
        ulong registration = machine.Pool.Allocate(POOL_TYPE.PagedPool, 8, Tag, caller, zero: true);
        if (registration == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        lock (gate) registrations.Add(registration, (SettingGuid, Callback, Context));
        if (!Handle.IsNull) GuestMemory.Ref<PVOID>(Handle.Address) = new PVOID(registration);
        Tell(registration);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Ends a registration. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER for no registration.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PoUnregisterPowerSettingCallback(PVOID Handle)
    {
        lock (gate)
        {
            if (!registrations.Remove(Handle.Address)) return NTSTATUS.STATUS_INVALID_PARAMETER;
        }
        machine.Pool.Free(Handle.Address, Tag);
        return NTSTATUS.STATUS_SUCCESS;
    }
}
