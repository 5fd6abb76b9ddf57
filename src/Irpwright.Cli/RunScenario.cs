using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Cli;

/// <summary>What happens inside the machine of <c>run</c>: drivers are loaded, requests sent and waited for, drivers unloaded.</summary>
sealed class RunScenario(Machine machine, RunOptions options, ObjectNames names)
{
    readonly List<RequestResult> results = [];
    readonly List<string> loaded = [];
    readonly List<(IoOperation Operation, byte[] Buffer, RequestResult Result)> running = [];

    /// <summary>Results so far, also when the run did not come to its end.</summary>
    public IReadOnlyList<RequestResult> Results => results;

    /// <summary>Without requests, what was loaded: a line per driver.</summary>
    public IReadOnlyList<string> Loaded => loaded;

    /// <summary>The device that requests went to.</summary>
    public string? Device { get; private set; }

    public ProgressBar? Progress { get; set; }

    DeviceHandle? handle;

    public void Play()
    {
        foreach (string file in options.RegistryFiles) Register(file);
        var stack = new DriverStack(machine, options.Device, options.Seed, options.Lenient);
        foreach (string driver in options.Drivers) stack.Add(driver);
        machine.Run(() =>
        {
            stack.Start();
            if (options.Requests.Count > 0 || options.Open is not null) SendAll(stack);
            else ListDrivers();
            stack.Unload();
        });
    }

    /// <exception cref="CommandException">Says which file and line is wrong.</exception>
    void Register(string file)
    {
        try
        {
            if (Directory.Exists(file)) throw CommandException.BadInput($"--registry {file}: that is a directory.");
            RegistrationFile.Load(machine.Registry, file);
        }
        catch (RegistrationFileException e)
        {
            throw CommandException.BadInput($"--registry {e.Message}");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CommandException.BadInput($"--registry {file}: no such file.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw CommandException.BadInput($"--registry {file}: it cannot be read: {e.Message}");
        }
    }

    void ListDrivers()
    {
        IReadOnlyList<Driver> drivers = machine.Drivers.All;
        int width = drivers.Max(d => d.Name.Length);
        foreach (Driver driver in drivers)
        {
            var devices = new List<string>();
            for (PDEVICE_OBJECT device = driver.Object.DeviceObject; !device.IsNull; device = device.NextDevice)
                devices.Insert(0, names.Device(device));
            loaded.Add($"{driver.Name.PadRight(width)}  loaded  {(devices.Count == 0 ? "no devices" : string.Join(", ", devices))}");
        }
    }

    void SendAll(DriverStack stack)
    {
        // Whoever begins with a PnP request of their own wants the device as AddDevice left it.
        if (options.Requests is not [{ Kind: RequestKind.PlugAndPlay }, ..]) stack.StartDevice();
        if (options.Requests is not [{ IsForHandle: false }, ..])
        {
            Device = stack.DeviceToOpen(options.Open);
            NTSTATUS status = Open();
            if (!status.IsSuccess)
                throw CommandException.Undecided($"{Device} cannot be opened: its driver answered IRP_MJ_CREATE with {status.Name}.");
        }
        foreach (RequestSpec request in options.Requests)
        {
            if (request.IsForHandle) Send(stack, request);
            else Manage(stack, request);
        }
        FinishRunning();
        Close();
    }

    NTSTATUS Open() => DeviceHandle.TryOpen(machine, Device!, out handle);

    void Close()
    {
        handle?.Dispose();
        handle = null;
        machine.PlugAndPlay.Settle();
    }

    void FinishRunning()
    {
        foreach ((IoOperation operation, byte[] buffer, RequestResult result) in running) Finish(operation, buffer, result);
        running.Clear();
    }

    /// <summary>A request to the PnP or power manager.</summary>
    void Manage(DriverStack stack, RequestSpec request)
    {
        if (request.SystemState == SYSTEM_POWER_STATE.PowerSystemUnspecified && stack.Node is null)
            throw CommandException.BadInput($"--request {request.Text}: no driver was added to a device; drivers with AddDevice take part in Plug and Play.");
        var result = new RequestResult(request);
        results.Add(result);
        for (int i = 0; i < request.Repeat; i++)
        {
            // Programs that are told of an orderly removal close their handles.
            if (request.Operation is PnpOperation.Remove or PnpOperation.QueryRemove or PnpOperation.Eject)
            {
                FinishRunning();
                Close();
            }
            NTSTATUS status = request.Kind == RequestKind.PlugAndPlay ? Manage(stack.Node!, request.Operation) : SetPower(stack.Node, request);
            result.Add(new IoResult(status, 0), default);
            Progress?.Advance();
        }
    }

    NTSTATUS Manage(DeviceNode node, PnpOperation operation)
    {
        PlugAndPlay pnp = machine.PlugAndPlay;
        switch (operation)
        {
            case PnpOperation.Start: return pnp.Start(node);
            case PnpOperation.Stop: return pnp.Stop(node);
            case PnpOperation.QueryStop: return pnp.QueryStop(node);
            case PnpOperation.Remove: return pnp.Remove(node);
            case PnpOperation.QueryRemove: return pnp.QueryRemove(node);
            case PnpOperation.Eject: return pnp.Eject(node);
            case PnpOperation.CancelStop: pnp.CancelStop(node); break;
            case PnpOperation.CancelRemove: pnp.CancelRemove(node); break;
            default: pnp.SurpriseRemove(node); break;
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    NTSTATUS SetPower(DeviceNode? node, RequestSpec request)
    {
        if (request.SystemState == SYSTEM_POWER_STATE.PowerSystemUnspecified) return machine.PowerIrps.SetDevicePower(node!, request.DeviceState);
        if (request.SystemState != SYSTEM_POWER_STATE.PowerSystemWorking) return machine.Power.Sleep(request.SystemState);
        machine.Power.Wake();
        return NTSTATUS.STATUS_SUCCESS;
    }

    void Send(DriverStack stack, RequestSpec request)
    {
        var result = new RequestResult(request);
        results.Add(result);
        Device ??= stack.DeviceToOpen(options.Open);
        if (handle is null && Open() is { IsSuccess: false } refused)
        {
            result.Add(new IoResult(refused, 0), default);
            return;
        }
        byte[] buffer = new byte[request.Length];
        for (int i = 0; i < request.Repeat; i++)
        {
            // A request on its way needs its own buffer.
            if (request.Async && i > 0) buffer = new byte[request.Length];
            IoOperation operation = request.Kind switch
            {
                RequestKind.Read => handle!.StartRead(buffer, request.Offset),
                RequestKind.Write => handle!.StartWrite(request.Data, request.Offset),
                RequestKind.Control => handle!.StartControl(request.Code, request.Data, buffer),
                _ => handle!.StartFlush(),
            };
            if (request.Cancel && operation.Cancel()) result.Cancelled++;
            if (request.Async) running.Add((operation, buffer, result));
            else Finish(operation, buffer, result);
        }
    }

    void Finish(IoOperation operation, byte[] buffer, RequestResult result)
    {
        result.Add(operation.Wait(), buffer);
        Progress?.Advance();
    }
}
