using System.Runtime.InteropServices;
using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Testing;
using Irpwright.Verification;
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
    readonly Verifier? verifier;
    readonly ResultWriter? traceFile;
    readonly ResultWriter? jsonFile;
    readonly List<RequestResult> results = [];
    readonly List<(IoOperation Operation, byte[] Buffer, RequestResult Result)> running = [];
    ProgressBar? progress;
    string? opened;
    bool interrupted;

    public RunSession(RunOptions options, Terminal terminal)
    {
        this.options = options;
        this.terminal = terminal;
        traceFile = options.Trace.File is { } path ? ResultWriter.ToFile("--trace", path) : null;
        jsonFile = options.JsonFile is { } json ? ResultWriter.ToFile("--json", json) : null;
        machine = new Machine(new MachineOptions { Name = "run", Strategy = options.Strategy, Watchdog = options.Watchdog });
        names = new ObjectNames(machine);
        machine.Events.Add(names);
        TextWriter traceOutput = traceFile is null ? terminal.Output : traceFile;
        // Always there, as a bug check report shows the last steps.
        story = new TextTrace(
            machine, names, options.Trace.Format == TraceFormat.Text ? traceOutput : null, terminal.OutputColours && traceFile is null);
        machine.Events.Add(story);
        JsonTrace? jsonTrace = options.Trace.Format == TraceFormat.Json ? new JsonTrace(machine, names, traceOutput) : null;
        if (jsonTrace is not null) machine.Events.Add(jsonTrace);
        if (!options.Verify) return;
        verifier = Verifier.Attach(machine);
        verifier.Found = violation =>
        {
            story.Show(violation);
            jsonTrace?.Show(violation);
        };
    }

    bool HasViolations => verifier is not null && verifier.Violations.Any(v => v.Rule.Severity != Severity.Advice);

    bool TracesToOutput(TraceFormat format) => options.Trace.Format == format && traceFile is null;

    /// <summary>Runs everything and prints the results.</summary>
    /// <returns>The exit code.</returns>
    public int Run()
    {
        try
        {
            int exitCode = RunAndReport();
            traceFile?.Complete();
            jsonFile?.Complete();
            return exitCode;
        }
        catch (CommandException e) when (e.ExitCode == ExitCode.BadInput)
        {
            jsonFile?.Discard();
            throw;
        }
    }

    int RunAndReport()
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        using var signal = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
        try
        {
            PlayInMachine();
            PrintResults([]);
            int exitCode = HasViolations ? ExitCode.Violation : ExitCode.Clean;
            WriteJson(exitCode, HasViolations ? "violation" : "clean", null, null);
            if (terminal.Interactive) terminal.Error.Write($"{Summary()} in {clock.Elapsed.TotalMilliseconds:0} ms\n");
            return exitCode;
        }
        catch (BugCheckException e)
        {
            PrintResults(BugCheckText.Describe(e.Report, names, story, options.Reproduce));
            WriteJson(ExitCode.Violation, "bugCheck", e.Report.Explanation, e.Report);
            return ExitCode.Violation;
        }
        catch (MachineHungException e)
        {
            PrintResults(BugCheckText.DescribeHang(e.Message, names, story, options.Reproduce));
            WriteJson(ExitCode.Violation, "hang", e.Message, null);
            return ExitCode.Violation;
        }
        catch (Exception e) when (interrupted)
        {
            PrintResults([]);
            throw new CommandException(ExitCode.Interrupted, "interrupted; the results are incomplete.", e);
        }
        catch (Exception e) when (
            e is MachineUnsupportedException or InsufficientMemoryException or CommandException { ExitCode: ExitCode.Undecided })
        {
            PrintResults([]);
            WriteJson(ExitCode.Undecided, "undecided", e.Message, null);
            throw CommandException.Undecided(e.Message);
        }
    }

    void PlayInMachine()
    {
        using var bar = TracesToOutput(TraceFormat.Text) ? null : ProgressBar.Start(terminal, options.Requests.Sum(r => (long)r.Repeat));
        progress = bar;
        var stack = new DriverStack(machine, options.Device, options.Seed);
        foreach (string driver in options.Drivers) stack.Add(driver);
        machine.Run(() => Play(stack));
    }

    void Play(DriverStack stack)
    {
        stack.Start();
        if (options.Requests.Count > 0 || options.Open is not null) SendAll(opened = stack.DeviceToOpen(options.Open));
        stack.Unload();
    }

    void SendAll(string device)
    {
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
        progress?.Advance();
    }

    void Interrupt(PosixSignalContext context)
    {
        context.Cancel = true;
        interrupted = true;
        machine.Dispose();
    }

    void PrintResults(IReadOnlyList<string> report)
    {
        story.Flush();
        // A JSON trace on stdout stays JSON.
        TextWriter output = TracesToOutput(TraceFormat.Json) ? terminal.Error : terminal.Output;
        if (TracesToOutput(TraceFormat.Text) && results.Count > 0) output.Write('\n');
        foreach (string line in results.SelectMany(r => r.Describe())) output.Write(line + "\n");
        foreach (Violation violation in verifier?.Violations ?? [])
            output.Write($"\n{string.Join('\n', ViolationText.Describe(violation))}\n");
        if (report.Count > 0 && results.Count > 0) output.Write('\n');
        foreach (string line in report) output.Write(line + "\n");
    }

    string Summary()
    {
        long count = results.Sum(r => (long)r.Count);
        string requests = count == 1 ? "1 request" : $"{count} requests";
        return verifier is null ? requests : $"{requests}, {verifier.Rules.Count} rules, {verifier.Violations.Count} findings";
    }

    void WriteJson(int exitCode, string outcome, string? message, BugCheckReport? report)
    {
        jsonFile?.Write(new RunJson
        {
            ExitCode = exitCode,
            Outcome = outcome,
            Message = message,
            Drivers = options.Drivers,
            Device = opened,
            Requests = [.. results.Select(RequestJson.Of)],
            Violations = verifier is null ? null : [.. verifier.Violations.Select(ViolationJson.Of)],
            BugCheck = report is null ? null : BugCheckJson.Of(report),
            Reproduce = options.Reproduce,
        }.Serialize());
    }

    public void Dispose()
    {
        machine.Dispose();
        traceFile?.Dispose();
        jsonFile?.Dispose();
    }
}
