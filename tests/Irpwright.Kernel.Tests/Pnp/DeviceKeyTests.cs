using System.Text;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

public sealed class DeviceKeyTests : PnpTest
{
    string NameOf(HANDLE key)
    {
        PVOID name = Memory(400);
        Assert.Equal(STATUS_SUCCESS, ZwQueryKey(key, KeyNameInformation, name, 400, out uint length));
        ZwClose(key);
        return Encoding.Unicode.GetString(Bytes(name, (int)length)[4..]);
    }

    [Fact]
    public void A_device_has_a_hardware_key_and_a_software_key() => Run(() =>
    {
        DeviceNode node = Started();
        const string root = @"\REGISTRY\Machine\System\ControlSet001\";
        Assert.Equal(STATUS_SUCCESS, IoOpenDeviceRegistryKey(node.PhysicalDevice, PLUGPLAY_REGKEY_DEVICE, KEY_READ, out HANDLE hardware));
        Assert.Equal(root + @"Enum\ROOT\SAMPLE\0000\Device Parameters", NameOf(hardware));
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(STATUS_SUCCESS, IoOpenDeviceRegistryKey(node.PhysicalDevice, PLUGPLAY_REGKEY_DRIVER, KEY_READ, out HANDLE software));
            Assert.Equal(root + @"Control\Class\{4D36E97D-E325-11CE-BFC1-08002BE10318}\0000", NameOf(software));
        }
        Assert.Equal(STATUS_SUCCESS,
            IoOpenDeviceRegistryKey(node.PhysicalDevice, PLUGPLAY_REGKEY_DEVICE | PLUGPLAY_REGKEY_CURRENT_HWPROFILE, KEY_READ, out HANDLE profile));
        Assert.Contains(@"\Hardware Profiles\Current\", NameOf(profile), StringComparison.Ordinal);
        Assert.Equal(STATUS_INVALID_PARAMETER, IoOpenDeviceRegistryKey(node.PhysicalDevice, 3, KEY_READ, out _));
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, IoOpenDeviceRegistryKey(Device((_, irp) => Complete(irp, STATUS_SUCCESS)), PLUGPLAY_REGKEY_DEVICE, KEY_READ, out _));
    });

    [Fact]
    public void A_driver_has_keys_for_parameters_and_state() => Run(() =>
    {
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, IoOpenDriverRegistryKey(DriverObject, DriverRegKeyParameters, KEY_READ, 0, out _));
        Machine.Registry.Create(@"\Registry\Machine\System\CurrentControlSet\Services\test\Parameters");
        Assert.Equal(STATUS_SUCCESS, IoOpenDriverRegistryKey(DriverObject, DriverRegKeyParameters, KEY_READ, 0, out HANDLE parameters));
        Assert.EndsWith(@"\Services\test\Parameters", NameOf(parameters), StringComparison.Ordinal);
        Assert.Equal(STATUS_SUCCESS, IoOpenDriverRegistryKey(DriverObject, DriverRegKeyPersistentState, KEY_READ, 0, out HANDLE state));
        Assert.EndsWith(@"\Services\test\State", NameOf(state), StringComparison.Ordinal);
        Assert.Equal(STATUS_SUCCESS, IoOpenDriverRegistryKey(DriverObject, DriverRegKeySharedPersistentState, KEY_READ, 0, out HANDLE shared));
        ZwClose(shared);
        Assert.Equal(STATUS_INVALID_PARAMETER, IoOpenDriverRegistryKey(DriverObject, DriverRegKeyParameters, KEY_READ, 1, out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, IoOpenDriverRegistryKey(DriverObject, (DRIVER_REGKEY_TYPE)7, KEY_READ, 0, out _));
    });
}
