using System.Reflection;
using System.Text.Json;
using Irpwright.Checking;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Verification;

namespace Irpwright.Cli.Stacks;

/// <summary>A stack of drivers, what they find on their machine, and how to check them, as JSON; docs/stack-json.md describes it.</summary>
sealed class StackFile
{
    static readonly Dictionary<string, DriverPlace> Places = new()
    {
        ["lowerFilter"] = DriverPlace.LowerFilter, ["function"] = DriverPlace.Function, ["upperFilter"] = DriverPlace.UpperFilter,
        ["software"] = DriverPlace.Software,
    };

    /// <summary>Of control requests, bytes.</summary>
    public const uint LongestBuffer = 16 << 20;

    readonly string folder;
    readonly Machine trial;
    readonly List<DriverSource> drivers = [];
    readonly List<DeviceResource> resources = [];
    readonly List<int> interruptLines = [];
    readonly List<Action<Machine>> furniture = [];
    readonly List<ControlRequest> controlRequests = [];
    readonly List<string> include = [], exclude = [];
    readonly List<Action<MuteList>> mutes = [];
    readonly List<string> assemblies = [];
    DriverSource? device;

    StackFile(string path, Machine trial)
    {
        folder = Path.GetDirectoryName(path) ?? "";
        this.trial = trial;
    }

    public ulong? Seed { get; private set; }

    public int? Schedules { get; private set; }

    public TimeSpan? Budget { get; private set; }

    public bool Advice { get; private set; }

    /// <summary>Beginnings of names of scenarios.</summary>
    public IReadOnlyList<string> Include => include;

    /// <inheritdoc cref="Include"/>
    public IReadOnlyList<string> Exclude => exclude;

    /// <summary>With scenarios for the drivers, as <see cref="ScenarioAssembly"/> takes them.</summary>
    public IReadOnlyList<string> Assemblies => assemblies;

    public void MuteIn(MuteList list)
    {
        foreach (Action<MuteList> mute in mutes) mute(list);
    }

    public CheckStack Stack(IReadOnlyList<string> inputs) => new(inputs, drivers)
    {
        Device = device,
        Resources = resources,
        InterruptLines = interruptLines,
        ControlRequests = controlRequests,
        Furnish = machine =>
        {
            foreach (Action<Machine> piece in furniture) piece(machine);
        },
    };

    /// <summary>Reads a file, and everything that it names.</summary>
    /// <exception cref="CommandException">Names the file, the line, and what to write instead.</exception>
    public static StackFile Read(string path)
    {
        using var trial = new Machine();
        var file = new StackFile(path, trial);
        JsonValue root = JsonValue.Read(path);
        root.Object("a stack",
            ("$schema", static _ => { }),
            ("drivers", file.ReadDrivers),
            ("device", file.ReadDevice),
            ("resources", value => Each(value, "resources", file.ReadResource)),
            ("hardware", value => Each(value, "hardware models", file.ReadHardware)),
            ("registry", value => Each(value, ".reg files", file.ReadRegistry)),
            ("controlRequests", value => Each(value, "control codes", file.ReadControlRequest)),
            ("scenarios", file.ReadScenarios),
            ("mute", value => Each(value, "entries", file.ReadMute)),
            ("muteFiles", value => Each(value, "files", file.ReadMuteFile)),
            ("advice", value => file.Advice = value.Boolean()),
            ("seed", value => file.Seed = (ulong)value.Number(0, long.MaxValue)),
            ("schedules", value => file.Schedules = (int)value.Number(1, int.MaxValue)),
            ("budget", file.ReadBudget));
        if (file.drivers.Count == 0) throw root.Wrong("name the drivers, as in \"drivers\": [\"mydriver.sys\"].");
        bool isAboveOwnDevice = file.resources.Count + file.interruptLines.Count > 0 && file.device is not null;
        if (isAboveOwnDevice) throw root.Member("resources")!.Wrong("resources are those of a device of the root bus; leave \"device\" out.");
        return file;
    }

    static void Each(JsonValue array, string what, Action<JsonValue> read)
    {
        foreach (JsonValue item in array.Array(what)) read(item);
    }

    /// <summary>A path as the file means it: relative to the file.</summary>
    string Resolve(string path) => Path.Combine(folder, path);

    DriverSource Find(JsonValue value, string text)
    {
        try
        {
            return DriverSources.Find(text, folder);
        }
        catch (CommandException e)
        {
            throw new CommandException(e.ExitCode, value.Located(e.Message), e);
        }
    }

    // ---- The stack

    void ReadDrivers(JsonValue value)
    {
        DriverPlace last = DriverPlace.LowerFilter;
        foreach (JsonValue item in value.Array("drivers, bottom up"))
        {
            DriverSource driver = ReadDriver(item);
            if (drivers.Exists(d => string.Equals(d.Name, driver.Name, StringComparison.OrdinalIgnoreCase)))
                throw item.Wrong($"there is a service '{driver.Name}' already; give this one another name with \"service\".");
            if (driver.PlaceInStack is DriverPlace.LowerFilter or DriverPlace.Function or DriverPlace.UpperFilter)
            {
                if (driver.PlaceInStack < last || (driver.PlaceInStack == DriverPlace.Function && last == DriverPlace.Function))
                    throw item.Wrong("drivers are listed bottom up: lower filters, one function driver, upper filters.");
                last = driver.PlaceInStack;
            }
            drivers.Add(driver);
        }
        if (last == DriverPlace.UpperFilter && !drivers.Exists(d => d.PlaceInStack == DriverPlace.Function))
            throw value.Wrong("upper filters are above a function driver; say which driver is that with \"place\": \"function\".");
    }

    DriverSource ReadDriver(JsonValue value)
    {
        const string what = "a driver: a .sys file, Assembly.dll:Type, or a built-in name";
        if (value.Type == JsonTokenType.String) return Find(value, value.String(what));
        JsonValue? driver = null;
        string? service = null;
        var place = DriverPlace.Unsaid;
        value.Object("a driver",
            ("driver", v => driver = v),
            ("service", v => service = v.String("the name of its service")),
            ("place", v =>
            {
                if (!Places.TryGetValue(v.Text, out place)) throw v.Wrong($"'{v.Text}' is no place; there are {string.Join(", ", Places.Keys)}.");
            }));
        if (driver is null) throw value.Wrong("name the driver, as in { \"driver\": \"mydriver.sys\" }.");
        DriverSource source = Find(driver, driver.String(what));
        return source.As(service ?? source.Name, place);
    }

    void ReadDevice(JsonValue value)
    {
        string text = value.String("scripted, ramdisk:SIZE, file:PATH, or a driver that makes its device in DriverEntry");
        switch (text.Split(':', 2))
        {
            case ["scripted"]:
                return;
            case ["file", { Length: > 0 } path]:
                device = FileContent(value, text, Resolve(path));
                return;
            case ["ramdisk" or "file", ..]:
                device = RamDiskOf(value, text);
                return;
            default:
                device = Find(value, text);
                return;
        }
    }

    static DriverSource RamDiskOf(JsonValue value, string text)
    {
        try
        {
            return DriverSource.Of(text, "lower", DeviceSpec.Parse(text).Create!);
        }
        catch (CommandException e)
        {
            throw value.Wrong(e.Message.Replace("--device ", "", StringComparison.Ordinal));
        }
    }

    // A copy in memory for each run: runs must not see what others wrote, and the file is the user's.
    static DriverSource FileContent(JsonValue value, string text, string path)
    {
        byte[] content = ReadOrComplain(value, path, File.ReadAllBytes);
        return DriverSource.Of(text, "lower", () =>
        {
            var disk = new RamDisk(content.Length, @"\Device\Disk0");
            content.CopyTo(disk.Content);
            return disk;
        });
    }

    static T ReadOrComplain<T>(JsonValue value, string path, Func<string, T> read)
    {
        try
        {
            return read(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw value.Wrong(File.Exists(path) ? $"{path} cannot be read: {e.Message}" : $"there is no file {path}; paths are relative to this file.");
        }
    }

    // ---- The machine

    void ReadResource(JsonValue value)
    {
        long? memory = null, port = null, interrupt = null, dma = null, length = null;
        value.Object("a resource",
            ("memory", v => memory = v.Number(0, long.MaxValue)),
            ("port", v => port = v.Number(0, ushort.MaxValue)),
            ("interrupt", v => interrupt = v.Number(0, 23)),
            ("dma", v => dma = v.Number(0, 7)),
            ("length", v => length = v.Number(1, uint.MaxValue)));
        const string instead = "write { \"memory\": ADDRESS, \"length\": BYTES }, { \"port\": FIRST, \"length\": COUNT }, { \"interrupt\": LINE } or { \"dma\": CHANNEL }.";
        if (new[] { memory, port, interrupt, dma }.Count(r => r is not null) != 1 || (memory ?? port) is not null != length is not null) throw value.Wrong(instead);
        if (memory is { } address) resources.Add(DeviceResource.Memory((ulong)address, (uint)length!));
        if (port is { } first) resources.Add(DeviceResource.Port((ulong)first, (uint)length!));
        if (dma is { } channel) resources.Add(DeviceResource.Dma((uint)channel));
        if (interrupt is { } line) interruptLines.Add((int)line);
    }

    void ReadHardware(JsonValue value)
    {
        const string what = "Assembly.dll:Type, a class with a constructor that takes a Machine";
        string text = value.String(what);
        if (!DriverAssembly.TrySplit(text, out string path, out string name)) throw value.Wrong($"write {what}.");
        try
        {
            Furnish(DriverAssembly.HardwareOf(Resolve(path), name));
        }
        catch (CommandException e)
        {
            throw value.Wrong(e.Message);
        }
        catch (TargetInvocationException e)
        {
            throw value.Wrong($"its constructor failed: {e.InnerException!.Message}");
        }
    }

    // Tried at once, so that what cannot be in one machine is told before anything is checked.
    void Furnish(Action<Machine> piece)
    {
        piece(trial);
        furniture.Add(piece);
    }

    void ReadRegistry(JsonValue value)
    {
        string path = Resolve(value.String("the path of a .reg file"));
        string text = ReadOrComplain(value, path, File.ReadAllText);
        try
        {
            Furnish(machine => RegistrationFile.Read(machine.Registry, text, path));
        }
        catch (RegistrationFileException e)
        {
            throw CommandException.BadInput(e.Message);
        }
    }

    // ---- What is done

    void ReadControlRequest(JsonValue value)
    {
        if (value.Type != JsonTokenType.StartObject)
        {
            controlRequests.Add(new((uint)value.Number(0, uint.MaxValue)));
            return;
        }
        long? code = null, input = null, output = null;
        byte[]? bytes = null;
        value.Object("a control request",
            ("code", v => code = v.Number(0, uint.MaxValue)),
            ("input", v => input = v.Number(0, LongestBuffer)),
            ("inputBytes", v => bytes = HexadecimalBytes(v)),
            ("output", v => output = v.Number(0, LongestBuffer)));
        if (code is null) throw value.Wrong("name the control code, as in { \"code\": \"0x222004\" }.");
        if (bytes is not null && input is not null && input != bytes.Length) throw value.Wrong($"there are {bytes.Length} inputBytes; leave \"input\" out.");
        controlRequests.Add(new((uint)code, bytes is null ? (uint?)input : (uint)bytes.Length, (uint?)output) { Input = bytes });
    }

    static byte[] HexadecimalBytes(JsonValue value)
    {
        try
        {
            return Convert.FromHexString(value.String("hexadecimal digits"));
        }
        catch (FormatException)
        {
            throw value.Wrong($"'{value.Text}' are no bytes; write two hexadecimal digits for each.");
        }
    }

    void ReadScenarios(JsonValue value) => value.Object("scenarios",
        ("include", v => Each(v, "beginnings of names", item => include.Add(item.String("what names of scenarios begin with")))),
        ("exclude", v => Each(v, "beginnings of names", item => exclude.Add(item.String("what names of scenarios begin with")))),
        ("assemblies", v => Each(v, "assemblies", item => assemblies.Add(Resolve(item.String("Assembly.dll or Assembly.dll#Name"))))));

    void ReadMute(JsonValue value) => Mute(value, list => list.Add(value.String("RULE, @DRIVER, RULE@DRIVER or RULE@DRIVER!FUNCTION")));

    void ReadMuteFile(JsonValue value)
    {
        string path = Resolve(value.String("a file with entries"));
        string text = ReadOrComplain(value, path, File.ReadAllText);
        Mute(value, list => list.AddLines(text, path));
    }

    void Mute(JsonValue value, Action<MuteList> add)
    {
        try
        {
            add(new MuteList());
        }
        catch (FormatException e)
        {
            throw value.Wrong(e.Message);
        }
        mutes.Add(add);
    }

    void ReadBudget(JsonValue value)
    {
        if (value.Type is not (JsonTokenType.String or JsonTokenType.Number) || !CheckCommand.TryParseBudget(value.Text, out TimeSpan budget))
            throw value.Wrong("write a time, as \"60s\" or \"5m\".");
        Budget = budget;
    }
}
