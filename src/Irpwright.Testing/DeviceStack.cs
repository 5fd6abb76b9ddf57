using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>A stack of devices, built from drivers bottom up, and what the PnP manager does with it.</summary>
/// <example>
/// <code>
/// DeviceStack stack = DeviceStack.Build(machine, new RamDisk(65536), new PassThrough());
/// using DeviceHandle disk = stack.Open();
///
/// DeviceStack device = DeviceStack.Build(machine, new DeviceDescription(@"ROOT\SAMPLE"), new MyFunctionDriver(), new MyFilter());
/// device.Start();
/// device.SurpriseRemove();
/// </code>
/// </example>
public sealed class DeviceStack
{
    readonly List<DriverService> services = [];
    readonly List<Driver> drivers = [];

    DeviceStack(Machine machine, DeviceNode node)
    {
        Machine = machine;
        Node = node;
    }

    public Machine Machine { get; }

    /// <summary>The device, as the PnP manager knows it.</summary>
    public DeviceNode Node { get; }

    /// <summary>The drivers, lowest first; not the root bus.</summary>
    public IReadOnlyList<Driver> Drivers => drivers;

    /// <summary>The lowest device, which requests reach last: the PDO.</summary>
    public PDEVICE_OBJECT Bottom => Node.PhysicalDevice;

    /// <summary>The device that requests reach first.</summary>
    public PDEVICE_OBJECT Top => Machine.Devices.IoGetAttachedDevice(Bottom);

    /// <summary>Loads the drivers that are not loaded yet and attaches each to the stack below it. Nothing is started.</summary>
    /// <param name="drivers">
    /// Lowest first. A lowest one that creates its device in DriverEntry, as the built-in disks do, stands for the bus driver; its
    /// stack can be opened at once. If it has an AddDevice routine instead, the device is one of the root bus. C# drivers and
    /// drivers that are loaded already (compiled ones) can be mixed.
    /// </param>
    /// <exception cref="DeviceStackException">A driver did not load, or did not attach; names the driver and the status.</exception>
    public static DeviceStack Build(Machine machine, params ReadOnlySpan<StackDriver> drivers)
    {
        if (drivers.IsEmpty) throw new ArgumentException("A stack has at least one driver.", nameof(drivers));
        StackDriver[] wanted = [.. drivers];
        return machine.Run(() =>
        {
            Driver lowest = Load(machine, wanted[0]);
            PDEVICE_OBJECT oldest = OldestDevice(lowest);
            DeviceStack stack;
            if (!oldest.IsNull)
            {
                stack = new DeviceStack(machine, machine.PlugAndPlay.Report(oldest, $@"ROOT\{lowest.Name}"));
                stack.services.Add(DriverService.Of(machine, lowest));
                stack.drivers.Add(lowest);
            }
            else
            {
                if (lowest.Object.DriverExtension.AddDevice.IsNull)
                {
                    throw new DeviceStackException(lowest.Name, NTSTATUS.STATUS_NO_SUCH_DEVICE,
                        $"The driver {lowest.Name} cannot be at the bottom of a stack: its DriverEntry created no device, and it has no AddDevice routine.");
                }
                stack = new DeviceStack(machine, machine.PlugAndPlay.Report(new DeviceDescription($@"ROOT\{lowest.Name}")));
                stack.Attach(lowest);
            }
            foreach (StackDriver driver in wanted.AsSpan(1)) stack.Attach(Load(machine, driver));
            return stack;
        });
    }

    /// <summary>Has the root bus report a device, and attaches drivers to it. Nothing is started.</summary>
    /// <param name="drivers">Lowest first: lower filters, function driver, upper filters.</param>
    /// <inheritdoc cref="Build(Machine, ReadOnlySpan{StackDriver})"/>
    public static DeviceStack Build(Machine machine, DeviceDescription device, params ReadOnlySpan<StackDriver> drivers)
    {
        StackDriver[] wanted = [.. drivers];
        return machine.Run(() =>
        {
            var stack = new DeviceStack(machine, machine.PlugAndPlay.Report(device));
            foreach (StackDriver driver in wanted) stack.Attach(Load(machine, driver));
            return stack;
        });
    }

    static Driver Load(Machine machine, StackDriver wanted)
    {
        if (wanted.Loaded is { } already) return already;
        WdmDriver driver = wanted.Managed ?? throw new ArgumentException("There is no driver here: this value is empty.", nameof(wanted));
        string name = UnusedName(machine, driver.GetType().Name.ToLowerInvariant());
        NTSTATUS status = machine.Drivers.Load(driver, name, out Driver? loaded);
        return loaded
            ?? throw new DeviceStackException(name, status, $"The driver {name} did not load: DriverEntry returned {status.Name}.");
    }

    static string UnusedName(Machine machine, string name)
    {
        HashSet<string> used = [.. machine.Drivers.All.Select(d => d.Name)];
        if (!used.Contains(name)) return name;
        return Enumerable.Range(2, used.Count).Select(i => $"{name}{i}").First(n => !used.Contains(n));
    }

    static PDEVICE_OBJECT OldestDevice(Driver driver)
    {
        PDEVICE_OBJECT device = driver.Object.DeviceObject;
        while (!device.IsNull && !device.NextDevice.IsNull) device = device.NextDevice;
        return device;
    }

    void Attach(Driver driver)
    {
        PDEVICE_OBJECT below = Top;
        string place = Name(below);
        bool hasAddDevice = !driver.Object.DriverExtension.AddDevice.IsNull;
        var service = DriverService.Of(Machine, driver);
        NTSTATUS status = Machine.PlugAndPlay.AddDriver(Node, service);
        if (!status.IsSuccess)
        {
            string problem = hasAddDevice ? $"AddDevice returned {status.Name}" : "it has no AddDevice routine";
            throw new DeviceStackException(driver.Name, status, $"The driver {driver.Name} did not attach to {place}: {problem}.");
        }
        if (Top == below || Top.DriverObject != driver.Object)
        {
            throw new DeviceStackException(driver.Name, status,
                $"The driver {driver.Name} did not attach to {place}: AddDevice returned {status.Name} without attaching a device.");
        }
        services.Add(service);
        drivers.Add(driver);
    }

    string Name(PDEVICE_OBJECT device) => $"{Machine.Drivers.Find(device.DriverObject)} ({Machine.Objects.NameOf(device)})";

    /// <summary>Opens the device as a user program does; requests go to the top of the stack.</summary>
    /// <exception cref="IOException">With the status, when a driver refuses, or the device of a bus is not started.</exception>
    public DeviceHandle Open() => DeviceHandle.Open(Machine, Machine.Objects.NameOf(Bottom));

    /// <inheritdoc cref="PlugAndPlay.Start"/>
    public NTSTATUS Start() => Machine.PlugAndPlay.Start(Node);

    /// <inheritdoc cref="PlugAndPlay.QueryStop"/>
    public NTSTATUS QueryStop() => Machine.PlugAndPlay.QueryStop(Node);

    public void CancelStop() => Machine.PlugAndPlay.CancelStop(Node);

    /// <inheritdoc cref="PlugAndPlay.Stop"/>
    public NTSTATUS Stop() => Machine.PlugAndPlay.Stop(Node);

    /// <inheritdoc cref="PlugAndPlay.QueryRemove"/>
    public NTSTATUS QueryRemove() => Machine.PlugAndPlay.QueryRemove(Node);

    public void CancelRemove() => Machine.PlugAndPlay.CancelRemove(Node);

    /// <summary>Takes the device out of the machine without warning; its drivers go when the last handle is closed (PNP-05).</summary>
    public void SurpriseRemove()
    {
        if (IsOfRootBus) Machine.PlugAndPlay.Unplug(Node);
        else Machine.PlugAndPlay.SurpriseRemove(Node);
    }

    bool IsOfRootBus => drivers.Count == 0 || Bottom.DriverObject != drivers[0].Object;

    /// <summary>
    /// Removes the drivers' devices in an orderly way, asking first if the device is started, and unloads all drivers, highest first;
    /// once.
    /// </summary>
    /// <exception cref="DeviceStackException">A driver refused, is still attached, or has no unload routine.</exception>
    public void Remove() => Machine.Run(() =>
    {
        if (Node.State != DeviceNodeState.Deleted)
        {
            NTSTATUS status = Machine.PlugAndPlay.Remove(Node);
            if (status < 0)
            {
                throw new DeviceStackException(Machine.Drivers.Find(Top.DriverObject)?.Name ?? "?", status,
                    $"The device {Node} was not removed: its drivers answered {status.Name}, or a handle to it is open.");
            }
            if (Top is var top && top != Bottom)
            {
                throw new DeviceStackException(Machine.Drivers.Find(top.DriverObject)?.Name ?? "?", NTSTATUS.STATUS_UNSUCCESSFUL,
                    $"{Name(top)} is still attached after IRP_MN_REMOVE_DEVICE.");
            }
            if (IsOfRootBus) Machine.PlugAndPlay.Unplug(Node);
            else Machine.PlugAndPlay.Withdraw(Node);
        }
        for (int i = services.Count - 1; i >= 0; i--)
        {
            if (!services[i].TryUnload())
            {
                throw new DeviceStackException(services[i].Name, NTSTATUS.STATUS_UNSUCCESSFUL,
                    $"The driver {services[i].Name} cannot be unloaded: it has no unload routine.");
            }
            services.RemoveAt(i);
            drivers.RemoveAt(i);
        }
    });
}

/// <summary>A driver for a <see cref="DeviceStack"/>: a C# driver that is loaded with the stack, or one that is loaded already.</summary>
public readonly struct StackDriver
{
    StackDriver(WdmDriver? managed, Driver? loaded)
    {
        Managed = managed;
        Loaded = loaded;
    }

    internal WdmDriver? Managed { get; }

    internal Driver? Loaded { get; }

    public static implicit operator StackDriver(WdmDriver driver) => new(driver, null);

    public static implicit operator StackDriver(Driver driver) => new(null, driver);
}

/// <summary>A device stack could not be built or taken down.</summary>
public sealed class DeviceStackException(string driver, NTSTATUS status, string message) : Exception(message)
{
    /// <summary>The driver that it failed at.</summary>
    public string Driver { get; } = driver;

    public NTSTATUS Status { get; } = status;
}
