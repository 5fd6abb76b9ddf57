using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Irpwright.Checking;
using Irpwright.Checking.Reports;
using Irpwright.Verification;

namespace Irpwright.Cli;

/// <summary><c>irpwright check</c>.</summary>
static class CheckCommand
{
    const double DefaultBudgetSeconds = 60;

    public const string Examples = """
        Finds out what the drivers are, puts them through every scenario that fits, and reports what breaks a rule, stops the
        system, or hangs: loading and unloading, requests of every kind and size, a device below that is slow or fails,
        cancellation, closed handles, Plug and Play, power, kernel routines that fail, and races between all of these.

        Examples:
          irpwright check mydriver.sys
          irpwright check function.sys filter.sys --budget 300s --sarif findings.sarif
          irpwright check MyDrivers.dll:MyFilter --ioctl 0x222004
          irpwright check mydriver.sys --mute IwCalledAtBadIrql@mydriver --scenarios pnp

        Exit codes:
          0 nothing found, 1 findings, 2 bad usage or input, 3 could not decide: not everything ran
        """;

    public static Command Create(Terminal terminal)
    {
        var drivers = new Argument<string[]>("DRIVER")
        {
            Arity = ArgumentArity.OneOrMore,
            Description = $"Drivers, bottom up: .sys files, Assembly.dll:Type, or built in: {string.Join(", ", DriverSources.BuiltInNames)}",
        };
        var budget = Option("--budget", "SECONDS", "Begin no scenario after that time [default: 60s]");
        var seed = new Option<ulong>("--seed") { HelpName = "N", Description = "Chooses the interleavings [default: 1]", DefaultValueFactory = _ => 1 };
        var schedules = new Option<int>("--schedules") { HelpName = "N", Description = "Interleavings for each race [default: 100]", DefaultValueFactory = _ => 100 };
        var scenarios = Option("--scenarios", "PREFIX", "Only scenarios whose names begin so");
        var ioctl = Many("--ioctl", "CODE", "A control code to send, besides those that show in the image; may be given several times");
        var mute = Many("--mute", "ENTRY", "Known, not to be reported: RULE, @DRIVER, RULE@DRIVER or RULE@DRIVER!FUNCTION");
        var muteFile = Option("--mute-file", "FILE", "The same, an entry on each line; # begins a comment");
        var advice = new Option<bool>("--advice") { Description = "Watch for rules too that flag code which works" };
        var json = Option("--json", "FILE", "Write the results to a file as JSON");
        var sarif = Option("--sarif", "FILE", "Write the findings to a file as SARIF 2.1.0");
        var junit = Option("--junit", "FILE", "Write scenarios and findings to a file as JUnit XML");
        var command = new Command("check", "Find out what is wrong with drivers.")
        {
            drivers, budget, seed, schedules, scenarios, ioctl, mute, muteFile, advice, json, sarif, junit,
        };
        command.SetAction(parsed =>
        {
            string[] names = parsed.GetValue(drivers) ?? [];
            var options = new CheckOptions
            {
                Seed = parsed.GetValue(seed),
                Schedules = parsed.GetValue(schedules) is > 0 and var count ? count : throw CommandException.BadInput("--schedules: give a number, at least 1."),
                Budget = ParseBudget(parsed.GetValue(budget)),
                Filter = parsed.GetValue(scenarios) ?? "",
                ControlCodes = [.. (parsed.GetValue(ioctl) ?? []).Select(ParseCode)],
                Mutes = ParseMutes(parsed.GetValue(mute) ?? [], parsed.GetValue(muteFile)),
                Rules = parsed.GetValue(advice) ? RuleCatalog.All : null,
            };
            return Run(terminal, names, options, parsed.GetValue(json), parsed.GetValue(sarif), parsed.GetValue(junit));
        });
        return command;
    }

    static Option<string> Option(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    static Option<string[]> Many(string name, string help, string description) =>
        new(name) { HelpName = help, Description = description, Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };

    static int Run(Terminal terminal, string[] names, CheckOptions options, string? jsonFile, string? sarifFile, string? junitFile)
    {
        DriverSource[] drivers = [.. names.Select(DriverSources.Find)];
        DriverSources.RequireImports(drivers);
        using ResultWriter? json = jsonFile is null ? null : ResultWriter.ToFile("--json", jsonFile);
        using ResultWriter? sarif = sarifFile is null ? null : ResultWriter.ToFile("--sarif", sarifFile);
        using ResultWriter? junit = junitFile is null ? null : ResultWriter.ToFile("--junit", junitFile);
        using var cancellation = new CancellationTokenSource();
        using var signal = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = true;
            cancellation.Cancel();
        });
        CheckResult result = Check(terminal, drivers, options, cancellation.Token);
        int exitCode = result.HasViolations ? ExitCode.Violation : result.Skipped.Count > 0 ? ExitCode.Undecided : ExitCode.Clean;
        terminal.Output.Write($"{string.Join(' ', names)}: {CheckText.Describe(result.Profile)}\n");
        foreach (CheckFinding finding in result.Findings) terminal.Output.Write($"\n{string.Join('\n', finding.Report)}\n");
        terminal.Output.Write('\n');
        foreach (string line in CheckText.Summarise(result)) terminal.Output.Write($"{line}\n");
        json?.Write(CheckJson.Of(result, names, exitCode).Serialize());
        sarif?.Write(SarifText(result, names));
        if (junit is not null) CheckJUnit.Write(junit, result, $"irpwright check {string.Join(' ', names)}");
        json?.Complete();
        sarif?.Complete();
        junit?.Complete();
        return exitCode;
    }

    static CheckResult Check(Terminal terminal, DriverSource[] drivers, CheckOptions options, CancellationToken cancellation)
    {
        ProgressBar? bar = null;
        try
        {
            var check = new DriverCheck(drivers, options)
            {
                Planned = count => bar = ProgressBar.Start(terminal, count, "scenarios"),
                Ended = _ => bar?.Advance(),
            };
            return check.Run(cancellation);
        }
        catch (DriverCheckException e)
        {
            throw CommandException.Undecided(e.Message);
        }
        catch (OperationCanceledException e)
        {
            throw new CommandException(ExitCode.Interrupted, "interrupted; nothing was reported.", e);
        }
        finally
        {
            bar?.Dispose();
        }
    }

    static string SarifText(CheckResult result, string[] names)
    {
        var text = new MemoryStream();
        CheckSarif.Write(text, result, names, typeof(CheckCommand).Assembly.GetName().Version?.ToString(3) ?? "0");
        return System.Text.Encoding.UTF8.GetString(text.ToArray()) + "\n";
    }

    static TimeSpan ParseBudget(string? text)
    {
        if (text is null) return TimeSpan.FromSeconds(DefaultBudgetSeconds);
        string digits = text.EndsWith('s') ? text[..^1] : text;
        if (!double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) || seconds is <= 0 or > 86_400)
            throw CommandException.BadInput($"--budget {text}: give seconds, more than 0 and at most 86400, as in 60s.");
        return TimeSpan.FromSeconds(seconds);
    }

    static uint ParseCode(string text) => RequestSpec.TryNumber(text, out long code) && code is >= 0 and <= uint.MaxValue
        ? (uint)code
        : throw CommandException.BadInput($"--ioctl {text}: '{text}' is no control code; write 0x222004.");

    static MuteList ParseMutes(string[] entries, string? file)
    {
        var mutes = new MuteList();
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
