using Irpwright.Checking;
using Irpwright.Guest;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Cli;

/// <summary>Loads the drivers of a command line, bottom up, and says which device stands for them.</summary>
/// <param name="seed">Chooses what Windows chooses at random at load time.</param>
/// <param name="lenient">Whether to run drivers with unsupported imports.</param>
sealed class DriverStack(Machine machine, DeviceSpec? device, ulong seed, bool lenient)
{
    /// <summary>A driver that was found and not loaded yet.</summary>
    /// <param name="Image">In the machine, if it is a compiled one.</param>
    sealed record Source(DriverSource Driver, string Name, DriverImage? Image);

    readonly List<Source> sources = [];
    // Drivers that need no unloading from a stack.
    readonly List<Driver> software = [];
    readonly List<DriverService> services = [];
    GuestDrivers? guest;
    PDEVICE_OBJECT bottom;
    string attached = "";

    /// <summary>Finds and reads a driver; nothing of it runs yet.</summary>
    public void Add(string text)
    {
        DriverSource driver = DriverSources.Find(text);
        DriverImage? image = null;
        if (driver.Image is not null) image = DriverSources.Place(driver, guest ??= new GuestDrivers(machine, seed) { AllowsMissingImports = lenient });
        sources.Add(new Source(driver, UniqueName(driver.Name), image));
    }

    string UniqueName(string name)
    {
        int same = sources.Count(s => s.Name == name || s.Name.StartsWith(name + "-", StringComparison.OrdinalIgnoreCase));
        return same == 0 ? name : $"{name}-{same + 1}";
    }

    /// <summary>
    /// Starts the drivers and builds the device stack: filters go above the <c>--device</c>, else above the device of the driver
    /// listed before them, else above a RAM disk. Inside the machine.
    /// </summary>
    public void Start()
    {
        if (device is not null) LoadBottom(device);
        foreach (Source source in sources)
        {
            Driver driver = Load(source);
            if (driver.Object.DriverExtension.AddDevice.IsNull)
            {
                software.Add(driver);
                continue;
            }
            if (bottom.IsNull && software is [.., { } below]) TakeAsBottom(below);
            if (bottom.IsNull) LoadBottom(DeviceSpec.Default);
            Node ??= machine.PlugAndPlay.Report(bottom, $@"ROOT\{machine.Drivers.Find(bottom.DriverObject)!.Name}");
            DriverService service = source.Driver.ServiceIn(machine, guest, source.Name, driver);
            services.Add(service);
            NTSTATUS status = machine.PlugAndPlay.AddDriver(Node, service);
            if (!status.IsSuccess)
                throw CommandException.Undecided($"{source.Driver.Text}: AddDevice returned {status.Name}; the driver did not attach.");
            attached = source.Driver.Text;
        }
        if (Node is not null) machine.PlugAndPlay.Install(Node.DeviceId, new DeviceInstallation { LowerFilters = services });
    }

    /// <summary>The device that drivers were added to; null without any.</summary>
    public DeviceNode? Node { get; private set; }

    /// <summary>Starts the device that drivers were added to, unless its lowest driver knows no Plug and Play.</summary>
    public void StartDevice()
    {
        if (Node is null || attached.Length == 0 || !machine.Drivers.Handles(bottom.DriverObject, IRP_MJ_PNP)) return;
        NTSTATUS status = machine.PlugAndPlay.Start(Node);
        if (!status.IsSuccess)
            throw CommandException.Undecided($"{attached}: the device was not started, and its drivers are removed again: IRP_MN_START_DEVICE ended with {status.Name}.");
    }

    void LoadBottom(DeviceSpec spec)
    {
        if (spec.Create is null)
        {
            Node = machine.PlugAndPlay.Report(new DeviceDescription(@"ROOT\DEVICE"));
            bottom = Node.PhysicalDevice;
            return;
        }
        NTSTATUS status = machine.Drivers.Load(spec.Create(), UniqueName(spec.Service), out _);
        if (!status.IsSuccess || !machine.Objects.TryFind(spec.DeviceName, out ulong address, out _))
            throw CommandException.Undecided($"--device {spec.Text}: its DriverEntry returned {status.Name}.");
        bottom = new PDEVICE_OBJECT(address);
    }

    // The device made first; later ones are often control devices.
    void TakeAsBottom(Driver driver)
    {
        for (PDEVICE_OBJECT next = driver.Object.DeviceObject; !next.IsNull; next = next.NextDevice) bottom = next;
        if (!bottom.IsNull) software.Remove(driver);
    }

    Driver Load(Source source)
    {
        Driver? driver;
        NTSTATUS status = source.Image is { } image
            ? guest!.Start(image, out driver, source.Name)
            : source.Driver.Load(machine, guest, source.Name, out driver);
        return driver ?? throw CommandException.Undecided($"{source.Driver.Text}: DriverEntry returned {status.Name}; the driver is not loaded.");
    }

    /// <summary>The device to open: as asked for, else the stack, else the only named device of the software drivers.</summary>
    public string DeviceToOpen(string? asked)
    {
        IReadOnlyList<string> names = machine.Objects.Names;
        if (asked is not null)
        {
            if (machine.Objects.TryFind(asked, out _, out _)) return asked;
            throw CommandException.BadInput($"--open {asked}: no device of that name; {Existing(names)}.");
        }
        if (!bottom.IsNull && machine.Objects.NameOf(bottom) is var stack && names.Contains(stack)) return stack;
        return names.Count switch
        {
            1 => names[0],
            0 => throw CommandException.BadInput("No driver created a named device that requests could go to; give a --device."),
            _ => throw CommandException.BadInput($"Which device shall the requests go to? Choose one with --open; {Existing(names)}."),
        };
    }

    static string Existing(IReadOnlyList<string> names) =>
        names.Count == 0 ? "there are no named devices" : $"there are {string.Join(", ", names)}";

    /// <summary>Unloads the software drivers again, newest first, as far as they can be.</summary>
    public void Unload()
    {
        foreach (Driver driver in Enumerable.Reverse(software))
        {
            if (driver.Managed is not null) machine.Drivers.Unload(driver);
            else guest!.Unload(driver);
        }
    }
}
