using System.CommandLine;
using System.Globalization;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary><c>irpwright run</c>.</summary>
static class RunCommand
{
    const double DefaultWatchdogSeconds = 10;

    public static Command Create(Terminal terminal, string[] args)
    {
        var drivers = new Argument<string[]>("DRIVER")
        {
            Arity = ArgumentArity.ZeroOrMore,
            Description = $"Drivers, bottom up: a .sys file, Assembly.dll:Type, or a built-in one ({string.Join(", ", DriverStack.BuiltInNames)})",
        };
        var device = Option("--device", "DEVICE", "Device at the bottom of the stack: ramdisk:SIZE [default when a filter needs one: ramdisk:64KiB]");
        var open = Option("--open", "NAME", @"Device to send requests to, such as \Device\Queue0 [default: the stack, or the only named device]");
        var requests = new Option<string[]>("--request", "-r")
        {
            HelpName = "REQUEST",
            Description = "read:OFFSET:LENGTH, write:OFFSET:HEX|@FILE, ioctl:CODE[:IN-HEX|@FILE][:OUT-LENGTH] or flush; suffixes :cancel, :x1000, :async",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = false,
        };
        var schedule = Option("--schedule", "SCHEDULE", "Who runs when: fifo (repeatable), random:SEED (repeatable), free (parallel, real time) [default: fifo]");
        var trace = Option("--trace", "FORMAT[:FILE]", "What happens to each IRP, as text or json");
        var json = Option("--json", "FILE", "Write the results to a file as JSON");
        var watchdog = Option("--watchdog", "SECONDS", "How long driver code may run without calling the kernel [default: 10]");
        var command = new Command("run", """
            Load drivers, send requests, and show the results.

            Examples:
              irpwright run passthrough --request read:0:512 --trace text
              irpwright run retry.sys --device ramdisk:1MiB -r write:0:00ff -r read:0:16
              irpwright run queue.sys -r read:0:64:cancel -r read:0:64
              irpwright run bin/MyDrivers.dll:MyFilter -r ioctl:0x222000:01020304:64 --schedule random:7

            Exit codes: 0 clean, 1 bug check or hang, 2 bad usage or input, 3 could not decide.
            """)
        {
            drivers, device, open, requests, schedule, trace, json, watchdog,
        };
        command.SetAction(parsed =>
        {
            (IScheduleStrategy? strategy, ulong seed) = RunOptions.ParseSchedule(parsed.GetValue(schedule) ?? "fifo");
            var options = new RunOptions
            {
                Drivers = parsed.GetValue(drivers) ?? [],
                Device = parsed.GetValue(device) is { } text ? DeviceSpec.Parse(text) : null,
                Open = parsed.GetValue(open),
                Requests = [.. (parsed.GetValue(requests) ?? []).Select(RequestSpec.Parse)],
                Strategy = strategy,
                Seed = seed,
                Trace = parsed.GetValue(trace) is { } format ? TraceSpec.Parse(format) : TraceSpec.None,
                JsonFile = parsed.GetValue(json),
                Watchdog = ParseWatchdog(parsed.GetValue(watchdog)),
                Reproduce = "irpwright " + string.Join(' ', args.Select(Quote)),
            };
            if (options.Drivers.Count == 0 && options.Device is null) throw CommandException.BadInput("Name a driver or a --device. See 'irpwright run --help'.");
            using var session = new RunSession(options, terminal);
            return session.Run();
        });
        return command;
    }

    static Option<string> Option(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    static TimeSpan ParseWatchdog(string? text)
    {
        if (text is null) return TimeSpan.FromSeconds(DefaultWatchdogSeconds);
        if (!double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) || seconds is <= 0 or > 86_400)
            throw CommandException.BadInput($"--watchdog {text}: give seconds, more than 0 and at most 86400.");
        return TimeSpan.FromSeconds(seconds);
    }

    // For POSIX shells; backslashes and parentheses would otherwise not survive.
    static string Quote(string argument) =>
        argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:=@,+%".Contains(c, StringComparison.Ordinal))
            ? argument
            : $"'{argument.Replace("'", @"'\''", StringComparison.Ordinal)}'";
}
