using Irpwright.Guest;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Cli;

/// <summary>Loads the drivers of a command line, bottom up, and says which device stands for them.</summary>
/// <param name="seed">Chooses what Windows chooses at random at load time.</param>
sealed class DriverStack(Machine machine, DeviceSpec? device, ulong seed)
{
    static readonly Dictionary<string, Func<WdmDriver>> BuiltIn = new(StringComparer.OrdinalIgnoreCase)
    {
        ["passthrough"] = () => new PassThrough(),
    };

    readonly List<Source> sources = [];
    readonly List<Driver> software = [];
    GuestDrivers? guest;
    PDEVICE_OBJECT bottom;

    /// <summary>A driver that was found and not loaded yet: an object of C#, or an image in memory.</summary>
    sealed record Source(string Text, string Name, WdmDriver? Managed, DriverImage? Image);

    /// <summary>Names of the drivers for help texts.</summary>
    public static IEnumerable<string> BuiltInNames => BuiltIn.Keys;

    /// <summary>Finds and reads a driver; nothing of it runs yet.</summary>
    public void Add(string text)
    {
        if (DriverAssembly.TrySplit(text, out string path, out string type))
            sources.Add(new Source(text, UniqueName(type[(type.LastIndexOf('.') + 1)..]), DriverAssembly.Create(path, type), null));
        else if (BuiltIn.TryGetValue(text, out Func<WdmDriver>? create) && !File.Exists(text))
            sources.Add(new Source(text, UniqueName(text.ToLowerInvariant()), create(), null));
        else
            AddImage(text);
    }

    void AddImage(string path)
    {
        if (!File.Exists(path) && !Directory.Exists(path) && !path.Contains('.') && !path.AsSpan().ContainsAny('/', '\\'))
            throw CommandException.BadInput($"{path}: no driver of that name; built in: {string.Join(", ", BuiltInNames)}. Otherwise give a .sys file or Assembly.dll:Type.");
        if (path.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) && File.Exists(path))
            throw CommandException.BadInput($"{path}: name the driver class in it as {path}:Type.");
        guest ??= new GuestDrivers(machine, seed);
        if (!guest.TryRead(path, out DriverImage? image, out ImageDiagnostic? error))
            throw new CommandException(error.Problem is ImageProblem.Unsupported ? ExitCode.Undecided : ExitCode.BadInput, error.ToString());
        if (!image.UnsupportedImports.IsEmpty)
            throw CommandException.Undecided($"{path}: imports {string.Join(", ", image.UnsupportedImports)}: this version does not have {(image.UnsupportedImports.Length == 1 ? "it" : "them")}, so the driver cannot run.");
        sources.Add(new Source(path, UniqueName(image.Name), null, image));
    }

    string UniqueName(string name)
    {
        int same = sources.Count(s => s.Name == name || s.Name.StartsWith(name + "-", StringComparison.OrdinalIgnoreCase));
        return same == 0 ? name : $"{name}-{same + 1}";
    }

    /// <summary>Starts the drivers and builds the device stack. Inside the machine.</summary>
    public void Start()
    {
        if (device is not null) LoadBottom(device);
        var filters = new List<(Source Source, Driver Driver)>();
        foreach (Source source in sources)
        {
            Driver driver = Load(source);
            if (driver.Object.DriverExtension.AddDevice.IsNull) software.Add(driver);
            else filters.Add((source, driver));
        }
        if (filters.Count > 0 && bottom.IsNull) LoadBottom(DeviceSpec.Default);
        foreach ((Source source, Driver driver) in filters)
        {
            NTSTATUS status = machine.Drivers.AddDevice(driver, bottom);
            if (!status.IsSuccess) throw CommandException.Undecided($"{source.Text}: AddDevice returned {status.Name}; the driver did not attach to the device.");
        }
    }

    void LoadBottom(DeviceSpec spec)
    {
        WdmDriver driver = spec.Create();
        NTSTATUS status = machine.Drivers.Load(driver, spec.Kind, out _);
        if (!status.IsSuccess || !machine.Objects.TryFind(spec.DeviceName, out ulong address, out _))
            throw CommandException.Undecided($"--device {spec.Kind}: its DriverEntry returned {status.Name}.");
        bottom = new PDEVICE_OBJECT(address);
        bottomName = spec.DeviceName;
    }

    string? bottomName;

    Driver Load(Source source)
    {
        Driver? driver;
        NTSTATUS status = source.Image is { } image
            ? guest!.Start(image, out driver, source.Name)
            : machine.Drivers.Load(source.Managed!, source.Name, out driver);
        return driver ?? throw CommandException.Undecided($"{source.Text}: DriverEntry returned {status.Name}; the driver is not loaded.");
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
        if (bottomName is not null) return bottomName;
        return names.Count switch
        {
            1 => names[0],
            0 => throw CommandException.BadInput("No driver created a named device that requests could go to; check the order of drivers, or give a --device."),
            _ => throw CommandException.BadInput($"Which device shall the requests go to? Choose one with --open; {Existing(names)}."),
        };
    }

    static string Existing(IReadOnlyList<string> names) => names.Count == 0 ? "there are no named devices" : $"there are {string.Join(", ", names)}";

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
