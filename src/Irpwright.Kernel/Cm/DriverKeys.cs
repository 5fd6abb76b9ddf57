using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The registry keys that belong to a device or a driver. All at PASSIVE_LEVEL.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/wdf/introduction-to-registry-keys-for-drivers"/>
public sealed class DriverKeys
{
    const string ControlSet = @"\Registry\Machine\System\CurrentControlSet";
    const string SystemClass = "{4D36E97D-E325-11CE-BFC1-08002BE10318}"; // "System devices", for devices that no INF gave a class
    const string DriverValue = "Driver";

    readonly Machine machine;

    internal DriverKeys(Machine machine) => this.machine = machine;

    /// <summary>Opens the hardware or the software key of a device; it is created where it is missing.</summary>
    /// <param name="DeviceObject">A PDO that the PnP manager knows.</param>
    /// <param name="DevInstKeyType">PLUGPLAY_REGKEY_DEVICE or _DRIVER, with or without _CURRENT_HWPROFILE.</param>
    /// <returns>STATUS_INVALID_PARAMETER, STATUS_INVALID_DEVICE_REQUEST for what is no PDO.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoOpenDeviceRegistryKey(PDEVICE_OBJECT DeviceObject, uint DevInstKeyType, uint DesiredAccess, out HANDLE DeviceRegKey)
    {
        DeviceRegKey = default;
        uint kind = DevInstKeyType & ~PLUGPLAY_REGKEY_CURRENT_HWPROFILE;
        if (DeviceObject.IsNull || kind is not (PLUGPLAY_REGKEY_DEVICE or PLUGPLAY_REGKEY_DRIVER)) return STATUS_INVALID_PARAMETER;
        if (machine.PlugAndPlay.Find(DeviceObject) is not { } node) return STATUS_INVALID_DEVICE_REQUEST;
        string instance = $@"Enum\{node.InstancePath}";
        string path = kind == PLUGPLAY_REGKEY_DEVICE ? $@"{instance}\Device Parameters" : $@"Control\Class\{SoftwareKeyOf(instance)}";
        string root = (DevInstKeyType & PLUGPLAY_REGKEY_CURRENT_HWPROFILE) != 0 ? $@"{ControlSet}\Hardware Profiles\Current\System\CurrentControlSet" : ControlSet;
        return machine.Registry.Open(machine.Registry.Create($@"{root}\{path}"), DesiredAccess, OBJ_KERNEL_HANDLE, out DeviceRegKey);
    }

    // The Driver value of the hardware key says where the software key is: class and number.
    string SoftwareKeyOf(string instance)
    {
        RegistryKey hardware = machine.Registry.Create($@"{ControlSet}\{instance}");
        lock (machine.Registry.Gate)
        {
            if (hardware.Value(DriverValue) is { } value) return new string(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, char>(value.Data)).TrimEnd('\0');
            RegistryKey itsClass = machine.Registry.Create($@"{ControlSet}\Control\Class\{SystemClass}");
            string name = $@"{SystemClass}\{itsClass.Subkeys.Count:0000}";
            machine.Registry.SetValue(hardware, DriverValue, name);
            machine.Registry.Create($@"{ControlSet}\Control\Class\{name}");
            return name;
        }
    }

    /// <summary>Opens the key in which a driver finds its parameters or keeps its state.</summary>
    /// <param name="Flags">0.</param>
    /// <returns>STATUS_INVALID_PARAMETER; STATUS_OBJECT_NAME_NOT_FOUND for parameters that nobody provided.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoOpenDriverRegistryKey(PDRIVER_OBJECT DriverObject, DRIVER_REGKEY_TYPE RegKeyType, uint DesiredAccess, uint Flags, out HANDLE DriverRegKey)
    {
        DriverRegKey = default;
        if (Flags != 0 || machine.Drivers.Find(DriverObject) is not { } driver) return STATUS_INVALID_PARAMETER;
        string service = $@"{ControlSet}\Services\{driver.Name}";
        RegistryKey? key;
        switch (RegKeyType)
        {
            case DRIVER_REGKEY_TYPE.DriverRegKeyParameters:
                key = machine.Registry.Find($@"{service}\Parameters");
                break;
            case DRIVER_REGKEY_TYPE.DriverRegKeyPersistentState:
                key = machine.Registry.Create($@"{service}\State");
                break;
            case DRIVER_REGKEY_TYPE.DriverRegKeySharedPersistentState:
                key = machine.Registry.Create($@"{service}\SharedState");
                break;
            default:
                return STATUS_INVALID_PARAMETER;
        }
        return key is null ? STATUS_OBJECT_NAME_NOT_FOUND : machine.Registry.Open(key, DesiredAccess, OBJ_KERNEL_HANDLE, out DriverRegKey);
    }
}
