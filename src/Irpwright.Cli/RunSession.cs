using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Cli;

/// <summary>One execution of <c>run</c>: a machine, its drivers, the requests, and what came of it.</summary>
sealed class RunSession : IDisposable
{
    readonly RunOptions options;
    readonly Terminal terminal;
    readonly Machine machine;
    readonly ObjectNames names;
    readonly TextTrace story;
    readonly StreamWriter? traceFile;
    readonly List<RequestResult> results = [];
    readonly List<(IoOperation Operation, byte[] Buffer, RequestResult Result)> running = [];

    public RunSession(RunOptions options, Terminal terminal)
    {
        this.options = options;
        this.terminal = terminal;
        machine = new Machine(new MachineOptions { Name = "run", Strategy = options.Strategy, Watchdog = options.Watchdog });
        names = new ObjectNames(machine);
        machine.Events.Add(names);
        traceFile = options.Trace.File is { } path ? TraceSpec.Create("--trace", path) : null;
        // Always there, as a bug check report shows the last steps.
        TextWriter? output = options.Trace.Format == TraceFormat.Text ? traceFile ?? terminal.Output : null;
        story = new TextTrace(machine, names, output, terminal.OutputColours && traceFile is null);
        machine.Events.Add(story);
    }

    /// <summary>Runs everything and prints the results.</summary>
    /// <returns>The exit code.</returns>
    public int Run()
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        IReadOnlyList<string> report = [];
        int exitCode = ExitCode.Clean;
        try
        {
            var stack = new DriverStack(machine, options.Device, options.Seed);
            foreach (string driver in options.Drivers) stack.Add(driver);
            machine.Run(() => Play(stack));
        }
        catch (BugCheckException e)
        {
            exitCode = ExitCode.Violation;
            report = BugCheckText.Describe(e.Report, names, story, options.Reproduce);
        }
        catch (MachineHungException e)
        {
            exitCode = ExitCode.Violation;
            report = BugCheckText.DescribeHang(e.Message, names, story, options.Reproduce);
        }
        catch (MachineUnsupportedException e)
        {
            PrintResults([]);
            throw CommandException.Undecided(e.Message);
        }
        catch (InsufficientMemoryException e)
        {
            PrintResults([]);
            throw CommandException.Undecided(e.Message);
        }
        PrintResults(report);
        if (terminal.Interactive) terminal.Error.Write($"{results.Sum(r => r.Count)} requests, {clock.Elapsed.TotalMilliseconds:0.0} ms\n");
        return exitCode;
    }

    void Play(DriverStack stack)
    {
        stack.Start();
        if (options.Requests.Count > 0)
        {
            string name = stack.DeviceToOpen(options.Open);
            NTSTATUS status = DeviceHandle.TryOpen(machine, name, out DeviceHandle? handle);
            if (handle is null) throw CommandException.Undecided($"{name} cannot be opened: its driver answered IRP_MJ_CREATE with {status.Name}.");
            foreach (RequestSpec request in options.Requests) Send(handle, request);
            foreach ((IoOperation operation, byte[] buffer, RequestResult result) in running) result.Add(operation.Wait(), buffer);
            handle.Dispose();
        }
        stack.Unload();
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
            else result.Add(operation.Wait(), buffer);
        }
    }

    void PrintResults(IReadOnlyList<string> report)
    {
        story.Flush();
        // A JSON trace on stdout stays JSON.
        TextWriter output = options.Trace is { Format: TraceFormat.Json, File: null } ? terminal.Error : terminal.Output;
        if (options.Trace is { Format: TraceFormat.Text, File: null } && results.Count > 0) output.Write('\n');
        foreach (RequestResult result in results) PrintResult(output, result);
        if (report.Count > 0 && results.Count > 0) output.Write('\n');
        foreach (string line in report) output.Write(line + "\n");
        output.Flush();
    }

    static void PrintResult(TextWriter output, RequestResult result)
    {
        if (result.Count == 0) output.Write($"{result.Spec.Text}  not finished\n");
        foreach ((RequestOutcome outcome, int count) in result.Outcomes)
        {
            string times = result.Count > 1 ? $"{count} times  " : "";
            string digest = outcome.Digest is null ? "" : $"  sha256 {outcome.Digest}";
            output.Write($"{result.Spec.Text}  {times}{outcome.Status.Name}  {outcome.Information} bytes{digest}\n");
        }
        if (result.Spec.Cancel) output.Write($"  {(result.Cancelled == 0 ? "over before it could be cancelled" : result.Count > 1 ? $"{result.Cancelled} cancelled while pending" : "cancelled while pending")}\n");
        if (result.Data is { } data)
            foreach (string line in Hexdump.Lines(data)) output.Write($"  {line}\n");
    }

    public void Dispose()
    {
        machine.Dispose();
        traceFile?.Dispose();
    }
}
