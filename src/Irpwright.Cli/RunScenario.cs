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

    public void Play()
    {
        var stack = new DriverStack(machine, options.Device, options.Seed, options.Lenient);
        foreach (string driver in options.Drivers) stack.Add(driver);
        machine.Run(() =>
        {
            stack.Start();
            if (options.Requests.Count > 0 || options.Open is not null) SendAll(stack.DeviceToOpen(options.Open));
            else ListDrivers();
            stack.Unload();
        });
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

    void SendAll(string device)
    {
        Device = device;
        NTSTATUS status = DeviceHandle.TryOpen(machine, device, out DeviceHandle? handle);
        if (handle is null)
            throw CommandException.Undecided($"{device} cannot be opened: its driver answered IRP_MJ_CREATE with {status.Name}.");
        foreach (RequestSpec request in options.Requests) Send(handle, request);
        foreach ((IoOperation operation, byte[] buffer, RequestResult result) in running) Finish(operation, buffer, result);
        handle.Dispose();
    }

    void Send(DeviceHandle handle, RequestSpec request)
    {
        var result = new RequestResult(request);
        results.Add(result);
        byte[] buffer = new byte[request.Length];
        for (int i = 0; i < request.Repeat; i++)
        {
            // A request on its way needs its own buffer.
            if (request.Async && i > 0) buffer = new byte[request.Length];
            IoOperation operation = request.Kind switch
            {
                RequestKind.Read => handle.StartRead(buffer, request.Offset),
                RequestKind.Write => handle.StartWrite(request.Data, request.Offset),
                RequestKind.Control => handle.StartControl(request.Code, request.Data, buffer),
                _ => handle.StartFlush(),
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
