namespace Irpwright.Checking;

/// <summary>
/// The drivers under test in one machine, with a device below them that answers as the scenario wants. Everything here runs inside the
/// machine.
/// </summary>
public sealed class CheckBench
{
    const string LowerName = "lower";
    const string FilterBelowName = "filter-below";
    const string FilterAboveName = "filter-above";

    /// <summary>Drivers that only play a part.</summary>
    internal static readonly string?[] Extras = [LowerName, FilterBelowName, FilterAboveName];

    const string NodeId = @"ROOT\CHECK";

    // Time is virtual: long enough for any device, timer or retry.
    static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    readonly CheckStack stack;
    readonly DriverService[] services;
    readonly DriverService lowerService;
    readonly DriverService[] below, above;

    internal CheckBench(Machine machine, CheckStack stack, CheckScenario scenario)
    {
        LowerDevice lower = scenario.Lower;
        this.stack = stack;
        Machine = machine;
        Guest = new GuestDrivers(machine);
        services = [.. stack.Drivers.Select(driver => driver.ServiceIn(machine, Guest, driver.Name))];
        machine.Faults.Spared = [.. Extras.OfType<string>()];
        lowerService = stack.Device?.ServiceIn(machine, Guest, LowerName) ?? DriverService.Of(machine, LowerName, () => Lower = NewLower(lower));
        Lower = NewLower(lower);
        below = scenario.IsFiltered ? [DriverService.Of(machine, FilterBelowName, () => new PassThrough())] : [];
        above = scenario.IsFiltered ? [DriverService.Of(machine, FilterAboveName, () => new PassThrough())] : [];
        stack.Furnish(machine);
    }

    static ScriptedDevice NewLower(LowerDevice lower) =>
        new(LowerName) { IsPlugAndPlay = true, Buffering = lower.Buffering, Otherwise = lower.AnswerTransfer };

    public Machine Machine { get; }

    public GuestDrivers Guest { get; }

    /// <summary>What the drivers were told when they did not come up; null if they did.</summary>
    public string? Refusal { get; private set; }

    /// <summary>The device that drivers with AddDevice are attached to; null if there are none.</summary>
    public DeviceNode? Node { get; private set; }

    /// <summary>The device right above the PDO, below the drivers under test; it is there if there is a node, unless the stack has its own device.</summary>
    public ScriptedDevice Lower { get; private set; }

    /// <summary>The drivers under test that are loaded, lowest first.</summary>
    public IEnumerable<Driver> Drivers => services.Select(service => service.Loaded).OfType<Driver>();

    /// <summary>Whether the device below takes part in Plug and Play.</summary>
    internal bool IsPlugAndPlay => Node is not null && Machine.Drivers.Handles(Node.PhysicalDevice.DriverObject, IRP_MJ_PNP);

    /// <summary>Loads the drivers, and starts the device of those that are attached to it.</summary>
    /// <returns>False if one refused, see <see cref="Refusal"/>: with faults that is its right.</returns>
    public bool Load()
    {
        Refusal = null;
        if (stack.Device is not null && lowerService.Load() is var loaded && lowerService.Loaded is null)
            return Refuse($"DriverEntry of {stack.Device.Text} returned {loaded.Name}");
        List<DriverService> lower = stack.Device is null ? [lowerService, .. below] : [.. below], upper = [];
        DriverService? function = null;
        bool isAttached = false;
        for (int i = 0; i < services.Length; i++)
        {
            NTSTATUS status = services[i].Load();
            if (services[i].Loaded is not { } driver) return Refuse($"DriverEntry of {services[i].Name} returned {status.Name}");
            DriverPlace place = stack.Drivers[i].PlaceInStack;
            bool hasAddDevice = !driver.Object.DriverExtension.AddDevice.IsNull;
            if (place == DriverPlace.Software || (place == DriverPlace.Unsaid && !hasAddDevice)) continue;
            if (!hasAddDevice) return Refuse($"{services[i].Name} has no AddDevice routine, so it cannot be attached to the device");
            isAttached = true;
            if (place == DriverPlace.Function) function = services[i];
            else (function is null ? lower : upper).Add(services[i]);
        }
        if (!isAttached) return true;
        (function is null ? lower : upper).AddRange(above);
        Machine.PlugAndPlay.Install(NodeId, new DeviceInstallation { LowerFilters = lower, Function = function, UpperFilters = upper });
        if (stack.Device is null) Node = Report();
        else if (lowerService.Loaded!.Object.DeviceObject is { IsNull: false } device) Node = Machine.PlugAndPlay.Report(Oldest(device), NodeId);
        else return Refuse($"{stack.Device.Text} made no device in DriverEntry that others could be attached to");
        NTSTATUS started = IsPlugAndPlay ? Machine.PlugAndPlay.Start(Node) : Machine.PlugAndPlay.AddDrivers(Node);
        return started.IsSuccess || Refuse($"the device was not started: {started.Name}");
    }

    DeviceNode Report()
    {
        InterruptLine[] lines = [.. stack.InterruptLines.Select(Machine.Interrupts.Line)];
        DeviceNode node = Machine.PlugAndPlay.Report(new DeviceDescription(NodeId)
        {
            Resources = [.. stack.Resources, .. lines.Select(line => DeviceResource.Interrupt(line.Vector, line.Irql))],
        });
        if (lines is [var first, ..]) Machine.Interrupts.Assign(node.PhysicalDevice, first);
        return node;
    }

    // Later ones are often control devices.
    static PDEVICE_OBJECT Oldest(PDEVICE_OBJECT device)
    {
        while (!device.NextDevice.IsNull) device = device.NextDevice;
        return device;
    }

    bool Refuse(string refusal)
    {
        Refusal = refusal;
        return false;
    }

    /// <summary>Names that programs can open.</summary>
    public IReadOnlyList<string> DeviceNames
    {
        get
        {
            var names = new List<string>();
            if (Node is not null) names.Add(Machine.Objects.NameOf(Node.PhysicalDevice));
            foreach (Driver driver in Drivers)
            {
                for (PDEVICE_OBJECT device = driver.Object.DeviceObject; !device.IsNull; device = device.NextDevice)
                {
                    string name = Machine.Objects.NameOf(device);
                    if (Machine.Objects.TryFind(name, out _, out _) && !names.Contains(name)) names.Add(name);
                }
            }
            return names;
        }
    }

    /// <summary>Opens a device as a program does; null if a driver refuses.</summary>
    public DeviceHandle? Open(string name) => DeviceHandle.TryOpen(Machine, name, out DeviceHandle? handle).IsSuccess ? handle : null;

    /// <summary>Opens the first device.</summary>
    /// <exception cref="IOException">A driver refuses, or there is none.</exception>
    public DeviceHandle Open() => DeviceNames is [var first, ..]
        ? DeviceHandle.Open(Machine, first)
        : throw new IOException("The drivers have no device that programs can open.");

    /// <summary>Takes everything down again in the documented order.</summary>
    public void Unload()
    {
        if (Node is { State: not DeviceNodeState.Deleted } node)
        {
            Machine.PlugAndPlay.Remove(node);
            if (node.State != DeviceNodeState.Deleted) Machine.PlugAndPlay.Unplug(node);
        }
        Machine.PlugAndPlay.Settle();
        Node = null;
        // A request that is outstanding keeps its file open, and nothing is unloaded before its last file is closed.
        if (Drivers.Any(IsOpen)) Rest();
        for (int i = services.Length - 1; i >= 0; i--)
        {
            if (services[i].Loaded is { } driver && !IsOpen(driver)) services[i].TryUnload();
        }
        foreach (DriverService extra in (DriverService[])[.. above, .. below, lowerService]) extra.TryUnload();
    }

    static bool IsOpen(Driver driver)
    {
        for (PDEVICE_OBJECT device = driver.Object.DeviceObject; !device.IsNull; device = device.NextDevice)
        {
            if (device.ReferenceCount > 0) return true;
        }
        return false;
    }

    // ---- Requests

    /// <summary>Sends a request, and comes back at once.</summary>
    internal CheckRequest Start(DeviceHandle handle, in IoRequest request)
    {
        var sent = new CheckRequest(this, handle);
        sent.Send(in request);
        return sent;
    }

    /// <summary>Sends a request and sees it through.</summary>
    internal NTSTATUS Do(DeviceHandle handle, in IoRequest request) => Start(handle, in request).Finish();

    /// <summary>Memory of the program, filled with a pattern.</summary>
    /// <param name="misalignment">Bytes behind a 16-byte boundary.</param>
    internal ulong UserBuffer(uint length, byte fill = 0x5A, uint misalignment = 0)
    {
        ulong address = Machine.Memory.AllocateUser(length + misalignment + 16);
        if (address == 0) throw new InsufficientMemoryException("The user memory of the machine is exhausted.");
        if (length > 0) GuestMemory.Write(address + misalignment, (int)length).Fill(fill);
        return address + misalignment;
    }

    /// <summary>Lets time pass until nothing is due for a while.</summary>
    public void Rest()
    {
        long interval = -Patience.Ticks;
        Machine.Dispatcher.KeDelayExecutionThread(MODE.KernelMode, false, in interval);
    }
}

/// <summary>How the device below the drivers under test behaves.</summary>
/// <param name="Name">In scenario names.</param>
/// <param name="Answer">Answers reads, writes, flushes and control requests.</param>
public sealed record LowerDevice(string Name, Func<ScriptedRequest, Response> Answer)
{
    static readonly TimeSpan Latency = TimeSpan.FromMilliseconds(1);

    /// <summary>Opening and closing always succeed.</summary>
    internal Response AnswerTransfer(ScriptedRequest request) =>
        request.MajorFunction is IRP_MJ_CREATE or IRP_MJ_CLEANUP or IRP_MJ_CLOSE ? Respond.Now() : Answer(request);

    /// <summary>How it wants its buffers described.</summary>
    public DO_FLAGS Buffering { get; init; } = DO_FLAGS.DO_DIRECT_IO;

    public static LowerDevice Now { get; } = new("completes at once", static _ => Respond.Now());

    public static LowerDevice Later { get; } = new("completes later", static _ => Respond.After(Latency));

    /// <summary>All of them, the ordinary one first.</summary>
    public static IReadOnlyList<LowerDevice> All { get; } =
    [
        Now,
        new("marks pending and completes at once", static _ => Respond.PendingInline()),
        Later,
        new("fails at once", static _ => Respond.Now(NTSTATUS.STATUS_DEVICE_NOT_READY)),
        new("knows no such request", static _ => Respond.Now(NTSTATUS.STATUS_INVALID_DEVICE_REQUEST)),
        new("fails later", static _ => Respond.After(Latency, NTSTATUS.STATUS_IO_DEVICE_ERROR)),
        new("answers with a warning", static _ => Respond.After(Latency, NTSTATUS.STATUS_BUFFER_OVERFLOW)),
        new("transfers nothing", static _ => Respond.Now(NTSTATUS.STATUS_SUCCESS, information: 0)),
    ];

    /// <summary>Keeps every request of a program until it is cancelled; those of drivers themselves are never cancelled by anybody.</summary>
    public static LowerDevice Never { get; } = new("completes when cancelled",
        static request => request.Irp.RequestorMode == MODE.UserMode ? Respond.WhenTold() : Respond.After(Latency));
}
