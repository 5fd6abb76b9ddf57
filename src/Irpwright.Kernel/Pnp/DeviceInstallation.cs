using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A driver that can be loaded when a device needs it, as an entry below the registry's Services key says.</summary>
/// <param name="name">The service's name.</param>
/// <param name="load">Loads the driver and calls its DriverEntry; a null driver with the status on failure.</param>
/// <param name="unload">Calls DriverUnload; false, with nothing done, if the driver has none.</param>
/// <param name="loaded">The driver, if it is loaded already.</param>
public sealed class DriverService(string name, Func<(NTSTATUS Status, Driver? Driver)> load, Func<Driver, bool> unload, Driver? loaded = null)
{
    public string Name { get; } = name;

    /// <summary>The driver, while it is loaded.</summary>
    public Driver? Loaded { get; private set; } = loaded;

    /// <summary>A C# driver; a new one is made for each load.</summary>
    public static DriverService Of(Machine machine, string name, Func<WdmDriver> create) => new(name,
        () =>
        {
            NTSTATUS status = machine.Drivers.Load(create(), name, out Driver? loaded);
            return (status, loaded);
        },
        machine.Drivers.Unload);

    /// <summary>A compiled driver that the machine was given an image of.</summary>
    public static DriverService Of(Machine machine, string name) => new(name,
        () =>
        {
            Driver? loaded = null;
            NTSTATUS status = machine.DriverServices.Images?.StartService(name, out loaded) ?? NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
            return (status, loaded);
        },
        driver => Unload(machine, driver));

    /// <summary>A driver that is loaded already; once it was unloaded it stays so.</summary>
    public static DriverService Of(Machine machine, Driver driver) =>
        new(driver.Name, () => (NTSTATUS.STATUS_DRIVER_FAILED_PRIOR_UNLOAD, null), d => Unload(machine, d), driver);

    static bool Unload(Machine machine, Driver driver) =>
        driver.Managed is null && machine.DriverServices.Images is { } images ? images.Unload(driver) : machine.Drivers.Unload(driver);

    /// <summary>Loads the driver if it is not loaded.</summary>
    /// <returns>The status of the load; <see cref="Loaded"/> is null on failure.</returns>
    public NTSTATUS Load()
    {
        if (Loaded is not null) return NTSTATUS.STATUS_SUCCESS;
        (NTSTATUS status, Driver? driver) = load();
        Loaded = driver;
        return driver is null && status >= 0 ? NTSTATUS.STATUS_UNSUCCESSFUL : status;
    }

    /// <summary>Unloads the driver if it has no device left, as the PnP manager does with the last one; false if it stays.</summary>
    internal bool UnloadIfUnused()
    {
        if (Loaded is not { } driver || !driver.Object.DeviceObject.IsNull || !unload(driver)) return false;
        Loaded = null;
        return true;
    }

    /// <summary>Unloads the driver if it is loaded; false if it cannot be.</summary>
    public bool TryUnload()
    {
        if (Loaded is { } driver && !unload(driver)) return false;
        Loaded = null;
        return true;
    }

    public override string ToString() => Name;
}

/// <summary>The drivers of a kind of device, as an INF file names them.</summary>
public sealed record DeviceInstallation
{
    /// <summary>Between the bus driver and the function driver, lowest first.</summary>
    public IReadOnlyList<DriverService> LowerFilters { get; init; } = [];

    /// <summary>Null for a device that its bus driver runs alone (raw).</summary>
    public DriverService? Function { get; init; }

    /// <summary>Above the function driver, lowest first.</summary>
    public IReadOnlyList<DriverService> UpperFilters { get; init; } = [];

    /// <summary>Setup class.</summary>
    public Guid ClassGuid { get; init; }

    public string? ClassName { get; init; }

    public string? Manufacturer { get; init; }

    public string? Description { get; init; }

    public string? FriendlyName { get; init; }

    /// <summary>All drivers, lowest first.</summary>
    public IEnumerable<DriverService> Drivers => Function is null ? [.. LowerFilters, .. UpperFilters] : [.. LowerFilters, Function, .. UpperFilters];
}

/// <summary>A device for the root bus to report: one that has no bus of its own.</summary>
/// <param name="DeviceId">Such as <c>ROOT\SAMPLE</c>.</param>
public sealed record DeviceDescription(string DeviceId)
{
    /// <summary>Unique on the machine below the device id; numbered from 0000 if null.</summary>
    public string? InstanceId { get; init; }

    /// <summary>Most specific first; the device id alone if empty.</summary>
    public IReadOnlyList<string> HardwareIds { get; init; } = [];

    public IReadOnlyList<string> CompatibleIds { get; init; } = [];

    public string? Text { get; init; }

    public string? Location { get; init; }

    /// <summary>What the device uses; it gets exactly this.</summary>
    public IReadOnlyList<DeviceResource> Resources { get; init; } = [];

    /// <summary>Answer to IRP_MN_QUERY_CAPABILITIES; Size and Version do not matter.</summary>
    public DEVICE_CAPABILITIES Capabilities { get; init; } = DefaultCapabilities();

    /// <summary>Of the PDO, such as DO_POWER_PAGABLE; passed up by the drivers above.</summary>
    public DO_FLAGS Flags { get; init; } = DO_POWER_PAGABLE;

    /// <summary>Can be ejected, removed by surprise and run raw; sleeps in D3 in every system state but S0.</summary>
    public static DEVICE_CAPABILITIES DefaultCapabilities()
    {
        var capabilities = new DEVICE_CAPABILITIES
        {
            Flags = DEVICE_CAPABILITY_FLAGS.UniqueID | DEVICE_CAPABILITY_FLAGS.Removable | DEVICE_CAPABILITY_FLAGS.EjectSupported
                | DEVICE_CAPABILITY_FLAGS.SurpriseRemovalOK | DEVICE_CAPABILITY_FLAGS.RawDeviceOK,
            Address = uint.MaxValue,
            UINumber = uint.MaxValue,
        };
        capabilities.DeviceState[(int)SYSTEM_POWER_STATE.PowerSystemWorking] = DEVICE_POWER_STATE.PowerDeviceD0;
        for (int state = (int)SYSTEM_POWER_STATE.PowerSystemSleeping1; state < (int)SYSTEM_POWER_STATE.PowerSystemMaximum; state++)
            capabilities.DeviceState[state] = DEVICE_POWER_STATE.PowerDeviceD3;
        return capabilities;
    }
}
