using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>A stack of devices, built from drivers bottom up.</summary>
/// <example>
/// <code>
/// DeviceStack stack = DeviceStack.Build(machine, new RamDisk(65536), new PassThrough());
/// using DeviceHandle disk = stack.Open();
/// </code>
/// </example>
public sealed class DeviceStack
{
    readonly List<Driver> drivers;

    DeviceStack(Machine machine, List<Driver> drivers, PDEVICE_OBJECT bottom)
    {
        Machine = machine;
        this.drivers = drivers;
        Bottom = bottom;
    }

    public Machine Machine { get; }

    /// <summary>The drivers, lowest first.</summary>
    public IReadOnlyList<Driver> Drivers => drivers;

    /// <summary>The device of the lowest driver, which requests reach last.</summary>
    public PDEVICE_OBJECT Bottom { get; }

    /// <summary>The device that requests reach first.</summary>
    public PDEVICE_OBJECT Top => Machine.Devices.IoGetAttachedDevice(Bottom);

    /// <summary>Loads the drivers that are not loaded yet and attaches each to the stack below it.</summary>
    /// <param name="drivers">
    /// Lowest first. The lowest creates its device in DriverEntry; every other attaches in AddDevice. C# drivers and drivers that
    /// are loaded already (compiled ones) can be mixed.
    /// </param>
    /// <exception cref="DeviceStackException">A driver did not load, or did not attach; names the driver and the status.</exception>
    public static DeviceStack Build(Machine machine, params ReadOnlySpan<StackDriver> drivers)
    {
        if (drivers.IsEmpty) throw new ArgumentException("A stack has at least one driver.", nameof(drivers));
        StackDriver[] wanted = [.. drivers];
        return machine.Run(() =>
        {
            List<Driver> loaded = [Load(machine, wanted[0])];
            var stack = new DeviceStack(machine, loaded, OldestDevice(loaded[0]));
            foreach (StackDriver driver in wanted.AsSpan(1)) stack.Attach(Load(machine, driver));
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
        if (device.IsNull)
        {
            throw new DeviceStackException(driver.Name, NTSTATUS.STATUS_NO_SUCH_DEVICE,
                $"The driver {driver.Name} cannot be at the bottom of a stack: its DriverEntry created no device.");
        }
        while (!device.NextDevice.IsNull) device = device.NextDevice;
        return device;
    }

    void Attach(Driver driver)
    {
        PDEVICE_OBJECT below = Top;
        NTSTATUS status = Machine.Drivers.AddDevice(driver, Bottom);
        if (!status.IsSuccess)
        {
            string problem =
                driver.Object.DriverExtension.AddDevice.IsNull ? "it has no AddDevice routine" : $"AddDevice returned {status.Name}";
            throw new DeviceStackException(driver.Name, status, $"The driver {driver.Name} did not attach to {Name(below)}: {problem}.");
        }
        if (Top == below || Top.DriverObject != driver.Object)
        {
            throw new DeviceStackException(driver.Name, status,
                $"The driver {driver.Name} did not attach to {Name(below)}: AddDevice returned {status.Name} without attaching a device.");
        }
        drivers.Add(driver);
    }

    string Name(PDEVICE_OBJECT device) => $"{Machine.Drivers.Find(device.DriverObject)} ({Machine.Objects.NameOf(device)})";

    /// <summary>Opens the device as a user program does; requests go to the top of the stack.</summary>
    /// <exception cref="IOException">With the status, when a driver refuses.</exception>
    public DeviceHandle Open() => DeviceHandle.Open(Machine, Machine.Objects.NameOf(Bottom));

    /// <summary>Removes the devices above the lowest one (IRP_MN_REMOVE_DEVICE) and unloads all drivers, highest first; once.</summary>
    /// <exception cref="DeviceStackException">A driver is still attached, or has no unload routine.</exception>
    public void Remove() => Machine.Run(() =>
    {
        if (drivers.Count == 0) return;
        if (Top != Bottom)
        {
            SendRemove();
            if (Top is var top && top != Bottom)
            {
                throw new DeviceStackException(Machine.Drivers.Find(top.DriverObject)?.Name ?? "?", NTSTATUS.STATUS_UNSUCCESSFUL,
                    $"{Name(top)} is still attached after IRP_MN_REMOVE_DEVICE.");
            }
        }
        for (int i = drivers.Count - 1; i >= 0; i--)
        {
            if (!Machine.Drivers.Unload(drivers[i]))
            {
                throw new DeviceStackException(drivers[i].Name, NTSTATUS.STATUS_UNSUCCESSFUL,
                    $"The driver {drivers[i].Name} cannot be unloaded: it has no unload routine.");
            }
            drivers.RemoveAt(i);
        }
    });

    void SendRemove()
    {
        const uint tag = 0x766D6552; // "Remv"
        PVOID block = Machine.Pool.ExAllocatePoolWithTag(NonPagedPool, KEVENT.SizeOf + IO_STATUS_BLOCK.SizeOf, tag);
        PKEVENT done = new(block.Address);
        PIO_STATUS_BLOCK outcome = new(block.Address + KEVENT.SizeOf);
        Machine.Dispatcher.KeInitializeEvent(done, NotificationEvent, false);
        PDEVICE_OBJECT top = Top;
        PIRP irp = Machine.Builders.IoBuildSynchronousFsdRequest(IRP_MJ_PNP, top, default, 0, null, done, outcome);
        IrpStackLocations.IoGetNextIrpStackLocation(irp).MinorFunction = IRP_MN_REMOVE_DEVICE;
        if (Machine.Dispatch.IoCallDriver(top, irp) == NTSTATUS.STATUS_PENDING)
            Machine.Dispatcher.KeWaitForSingleObject(done, Executive, KernelMode, false, null);
        Machine.Pool.ExFreePoolWithTag(block, tag);
    }
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
