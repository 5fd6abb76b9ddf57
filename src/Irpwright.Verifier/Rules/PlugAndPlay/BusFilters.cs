namespace Irpwright.Verification.Rules;

/// <summary>Filters that belong to the bus: they come with the PDO, before the PnP manager builds the rest of the stack, and go with it.</summary>
static class BusFilters
{
    /// <summary>Whether a driver's device is one, as far as the PnP manager knows its stack.</summary>
    internal static bool Contain(Machine machine, PDEVICE_OBJECT device, out DeviceNode? node)
    {
        node = machine.PlugAndPlay.FindByStack(device);
        return node is not null && node.PhysicalDevice != device && !node.Drivers.Any(driver => driver?.Object == device.DriverObject);
    }
}
