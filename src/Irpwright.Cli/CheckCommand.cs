using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Irpwright.Checking;
using Irpwright.Checking.Reports;
using Irpwright.Cli.Stacks;
using Irpwright.Exploration;
using Irpwright.Verification;

namespace Irpwright.Cli;

/// <summary><c>irpwright check</c>.</summary>
static class CheckCommand
{
    static readonly TimeSpan DefaultBudget = TimeSpan.FromSeconds(60);
    static readonly TimeSpan MaximumBudget = TimeSpan.FromDays(1);

    public const string Examples = """
        Finds out what the drivers are, puts them through every scenario that fits, and reports what breaks a rule, stops the
        system, or hangs: loading and unloading, requests of every kind and size, a device below that is slow or fails,
        cancellation, closed handles, Plug and Play, power, kernel routines that fail, and races between all of these.

        Examples:
          irpwright check mydriver.sys
          irpwright check function.sys filter.sys --budget 5m --html report.html --sarif findings.sarif
          irpwright check MyDrivers.dll:MyFilter --ioctl 0x222004:16:8
          irpwright check mydriver.sys --list
          irpwright check mydriver.sys --scenarios pnp --skip pnp-surprise --mute IwCalledAtBadIrql@mydriver
          irpwright check mystack.json                 places, registry, hardware, control requests: docs/stack-json.md
          irpwright check Scenarios.dll                each [Scenario] with a Machine, as explore takes them
          irpwright check mydriver.sys Scenarios.dll   each [Scenario] with a CheckBench, next to the others

        Options win over what a stack file says; --ioctl, --mute and --skip add to it.

        Exit codes:
          0 nothing found, 1 findings, 2 bad usage or input, 3 could not decide: not everything ran
        """;

    public static Command Create(Terminal terminal)
    {
        var inputs = new Argument<string[]>("DRIVER|STACK.json|ASSEMBLY.dll")
        {
            Arity = ArgumentArity.OneOrMore,
            Description = $"Drivers, bottom up: .sys files, Assembly.dll:Type, or built in: {string.Join(", ", DriverSources.BuiltInNames)}; or a file that describes the stack; and assemblies with scenarios",
        };
        var list = new Option<bool>("--list") { Description = "Name the scenarios, and run none" };
        var scenarios = Many("--scenarios", "PREFIX", "Only scenarios whose names begin so; may be given several times");
        var skip = Many("--skip", "PREFIX", "Leave out scenarios whose names begin so");
        var budget = Option("--budget", "TIME", "Begin no scenario after that time, as 60s or 5m, and end all after twice as much [default: 60s]");
        var seed = new Option<ulong?>("--seed") { HelpName = "N", Description = "Chooses the interleavings [default: 1]" };
        var schedules = new Option<int?>("--schedules") { HelpName = "N", Description = "Interleavings for each race [default: 100]" };
        var ioctl = Many("--ioctl", "CODE[:IN[:OUT]]", "A control code to send, with the lengths that its driver takes, in bytes, besides those that show in the image; may be given several times");
        var mute = Many("--mute", "ENTRY", "Known, not to be reported: RULE, @DRIVER, RULE@DRIVER or RULE@DRIVER!FUNCTION");
        var muteFile = Option("--mute-file", "FILE", "The same, an entry on each line; # begins a comment");
        var advice = new Option<bool>("--advice") { Description = "Watch for rules too that flag code which works" };
        var html = Option("--html", "FILE", "Write a report to a file as HTML, to be read in a browser");
        var json = Option("--json", "FILE", "Write the results to a file as JSON");
        var sarif = Option("--sarif", "FILE", "Write the findings to a file as SARIF 2.1.0");
        var junit = Option("--junit", "FILE", "Write scenarios and findings to a file as JUnit XML");
        var command = new Command("check", "Find out what is wrong with drivers.")
        {
            inputs, list, scenarios, skip, budget, seed, schedules, ioctl, mute, muteFile, advice, html, json, sarif, junit,
        };
        command.SetAction(parsed =>
        {
            CheckInput input = CheckInput.Read(parsed.GetValue(inputs) ?? []);
            StackFile? file = input.File;
            string[] only = parsed.GetValue(scenarios) ?? [];
            var options = new CheckOptions
            {
                Seed = parsed.GetValue(seed) ?? file?.Seed ?? 1,
                Schedules = (parsed.GetValue(schedules) ?? file?.Schedules ?? 100) is > 0 and var count
                    ? count
                    : throw CommandException.BadInput("--schedules: give a number, at least 1."),
                Budget = parsed.GetValue(budget) is { } time ? ParseBudget(time) : file?.Budget ?? DefaultBudget,
                Include = only.Length > 0 ? only : file?.Include ?? [],
                Exclude = [.. file?.Exclude ?? [], .. parsed.GetValue(skip) ?? []],
                ControlRequests = ParseControls(parsed.GetValue(ioctl) ?? []),
                Mutes = ParseMutes(file, parsed.GetValue(mute) ?? [], parsed.GetValue(muteFile)),
                Rules = parsed.GetValue(advice) || file?.Advice == true ? RuleCatalog.All : null,
            };
            if (parsed.GetValue(list)) return List(terminal, input.Stack, options);
            return Run(terminal, input.Stack, options, parsed.GetValue(html), parsed.GetValue(json), parsed.GetValue(sarif), parsed.GetValue(junit));
        });
        return command;
    }

    static Option<string> Option(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    static Option<string[]> Many(string name, string help, string description) =>
        new(name) { HelpName = help, Description = description, Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };

    static int List(Terminal terminal, CheckStack stack, CheckOptions options)
    {
        (DriverProfile profile, IReadOnlyList<CheckScenario> scenarios) = Undecided(() => new DriverCheck(stack, options).Plan());
        terminal.Output.Write($"{string.Join(' ', stack.Inputs)}: {CheckText.Describe(profile)}\n\n");
        foreach (string line in CheckText.List(scenarios)) terminal.Output.Write($"{line}\n");
        return ExitCode.Clean;
    }

    static int Run(Terminal terminal, CheckStack stack, CheckOptions options, string? htmlFile, string? jsonFile, string? sarifFile, string? junitFile)
    {
        using ResultWriter? html = FileFor("--html", htmlFile), json = FileFor("--json", jsonFile), sarif = FileFor("--sarif", sarifFile), junit = FileFor("--junit", junitFile);
        using var cancellation = new CancellationTokenSource();
        using var signal = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = true;
            cancellation.Cancel();
        });
        CheckResult result = Undecided(() => Check(terminal, stack, options, cancellation.Token));
        int exitCode = cancellation.IsCancellationRequested ? ExitCode.Interrupted : result.HasViolations ? ExitCode.Violation : result.Skipped.Count > 0 ? ExitCode.Undecided : ExitCode.Clean;
        string title = string.Join(' ', stack.Inputs);
        terminal.Output.Write($"{title}: {CheckText.Describe(result.Profile)}\n");
        foreach (CheckFinding finding in result.Findings) terminal.Output.Write($"\n{string.Join('\n', finding.Report)}\n");
        terminal.Output.Write('\n');
        foreach (string line in CheckText.Summarise(result)) terminal.Output.Write($"{line}\n");

        string[] checkedFiles = stack.Drivers.Count > 0 ? [.. stack.Drivers.Select(driver => driver.Text)] : [.. stack.Inputs];
        if (html is not null) CheckHtml.Write(html, result, title, Version);
        json?.Write(CheckJson.Of(result, checkedFiles, exitCode).Serialize());
        sarif?.Write(SarifText(result, checkedFiles));
        if (junit is not null) CheckJUnit.Write(junit, result, $"irpwright check {title}");
        foreach (ResultWriter? file in (ResultWriter?[])[html, json, sarif, junit]) file?.Complete();
        if (exitCode == ExitCode.Interrupted) throw new CommandException(exitCode, "interrupted; the results are incomplete.");
        return exitCode;
    }

    static ResultWriter? FileFor(string option, string? path) => path is null ? null : ResultWriter.ToFile(option, path);

    static CheckResult Check(Terminal terminal, CheckStack stack, CheckOptions options, CancellationToken cancellation)
    {
        ProgressBar? bar = null;
        try
        {
            var check = new DriverCheck(stack, options)
            {
                Planned = count => bar = ProgressBar.Start(terminal, count, "scenarios"),
                Begun = scenario => bar?.Name(scenario.Id),
                Found = (scenario, failure) => bar?.Say(CheckText.Announce(scenario, failure)),
                Ended = _ => bar?.Advance(),
            };
            return check.Run(cancellation);
        }
        finally
        {
            bar?.Dispose();
        }
    }

    static T Undecided<T>(Func<T> check)
    {
        try
        {
            return check();
        }
        catch (NoScenarioException e)
        {
            throw CommandException.BadInput($"{e.Message} --list names those that there are.");
        }
        catch (DriverCheckException e)
        {
            throw CommandException.Undecided(e.Message);
        }
    }

    static string Version => typeof(CheckCommand).Assembly.GetName().Version?.ToString(3) ?? "0";

    static string SarifText(CheckResult result, string[] files)
    {
        var text = new MemoryStream();
        CheckSarif.Write(text, result, files, Version);
        return System.Text.Encoding.UTF8.GetString(text.ToArray()) + "\n";
    }

    static TimeSpan ParseBudget(string text) => TryParseBudget(text, out TimeSpan budget)
        ? budget
        : throw CommandException.BadInput($"--budget {text}: give seconds or minutes, more than 0 and at most a day, as in 60s or 5m.");

    /// <summary>Reads <c>60</c>, <c>60s</c> or <c>5m</c>.</summary>
    public static bool TryParseBudget(string text, out TimeSpan budget)
    {
        budget = default;
        double unit = text.EndsWith('m') ? 60 : 1;
        string digits = text is [.. var before, 's' or 'm'] ? before : text;
        if (!double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double count)) return false;
        if (count <= 0 || count * unit > MaximumBudget.TotalSeconds) return false;
        budget = TimeSpan.FromSeconds(count * unit);
        return true;
    }

    static ControlRequest[] ParseControls(string[] texts)
    {
        ControlRequest[] requests = [.. texts.Select(ParseControl)];
        return requests.CountBy(request => request.Code).FirstOrDefault(code => code.Value > 1) is { Value: > 1 } twice
            ? throw CommandException.BadInput($"--ioctl: 0x{twice.Key:X} is given twice; lengths around those that are given are tried anyway.")
            : requests;
    }

    static ControlRequest ParseControl(string text)
    {
        string[] parts = text.Split(':');
        if (parts.Length > 3) throw CommandException.BadInput($"--ioctl {text}: give the code, the input's length and the output's, as in 0x222004:16:8.");
        if (!RequestSpec.TryNumber(parts[0], out long code) || code > uint.MaxValue)
            throw CommandException.BadInput($"--ioctl {text}: '{parts[0]}' is no control code; write 0x222004.");
        return new((uint)code, Length(1), Length(2));

        uint? Length(int index)
        {
            if (parts.Length <= index || parts[index].Length == 0) return null;
            return RequestSpec.TryNumber(parts[index], out long length) && length <= StackFile.LongestBuffer
                ? (uint)length
                : throw CommandException.BadInput($"--ioctl {text}: '{parts[index]}' is no length; give bytes, at most {StackFile.LongestBuffer >> 20} MiB. For what is in them, write a stack file.");
        }
    }

    static MuteList ParseMutes(StackFile? stack, string[] entries, string? file)
    {
        var mutes = new MuteList();
        stack?.MuteIn(mutes);
        try
        {
            foreach (string entry in entries) mutes.Add(entry);
            if (file is not null) mutes.AddLines(File.ReadAllText(file), file);
            return mutes;
        }
        catch (FormatException e)
        {
            throw CommandException.BadInput($"--mute: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw CommandException.BadInput($"--mute-file {file}: {e.Message}");
        }
    }
}
