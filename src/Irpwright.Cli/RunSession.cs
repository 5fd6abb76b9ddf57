using System.Runtime.InteropServices;
using Irpwright.Kernel;
using Irpwright.Reporting;
using Irpwright.Verification;

namespace Irpwright.Cli;

/// <summary>One execution of <c>run</c>: the machine, who watches it, and how its end is reported.</summary>
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
    readonly RunScenario scenario;
    bool interrupted;

    public RunSession(RunOptions options, Terminal terminal)
    {
        this.options = options;
        this.terminal = terminal;
        traceFile = options.Trace.File is { } path ? ResultWriter.ToFile("--trace", path) : null;
        jsonFile = options.JsonFile is { } json ? ResultWriter.ToFile("--json", json) : null;
        machine = new Machine(new MachineOptions { Name = "run", Strategy = options.Strategy, Watchdog = options.Watchdog, ChecksMemory = options.Verify });
        names = new ObjectNames(machine);
        machine.Events.Add(names);
        scenario = new RunScenario(machine, options, names);
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
            Play();
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

    void Play()
    {
        // The trace on a screen is progress enough.
        using ProgressBar? bar =
            TracesToOutput(TraceFormat.Text) ? null : ProgressBar.Start(terminal, options.Requests.Sum(r => (long)r.Repeat));
        scenario.Progress = bar;
        scenario.Play();
    }

    void Interrupt(PosixSignalContext context)
    {
        context.Cancel = true;
        interrupted = true;
        machine.Dispose();
    }

    void PrintResults(IReadOnlyList<string> report)
    {
        if (!interrupted) verifier?.Finish();
        story.Flush();
        // A JSON trace on stdout stays JSON.
        TextWriter output = TracesToOutput(TraceFormat.Json) ? terminal.Error : terminal.Output;
        string[] results = [.. scenario.Loaded, .. scenario.Results.SelectMany(r => r.Describe())];
        if (TracesToOutput(TraceFormat.Text) && results.Length > 0) output.Write('\n');
        foreach (string line in results) output.Write(line + "\n");
        foreach (Violation violation in verifier?.Violations ?? [])
            output.Write($"\n{string.Join('\n', ViolationText.Describe(violation))}\n");
        if (report.Count > 0 && results.Length > 0) output.Write('\n');
        foreach (string line in report) output.Write(line + "\n");
    }

    string Summary()
    {
        long count = scenario.Results.Sum(r => (long)r.Count);
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
            Device = scenario.Device,
            Requests = [.. scenario.Results.Select(RequestJson.Of)],
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
