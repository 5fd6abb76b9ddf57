using System.CommandLine;
using System.Globalization;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary><c>irpwright run</c>.</summary>
static class RunCommand
{
    const double DefaultWatchdogSeconds = 10;
    const double MaximumWatchdogSeconds = 86_400;

    public const string Examples = """
        Examples:
          irpwright run passthrough --request read:0:512 --trace text
          irpwright run retry.sys --device ramdisk:1MiB -r write:0:00ff -r read:0:16
          irpwright run pnpfunc.sys --device root -r read:0:16 -r pnp:stop -r pnp:start -r power:S3 -r power:S0
          irpwright run queue.sys -r read:0:64:cancel -r read:0:64
          irpwright run mydriver.sys --registry settings.reg -r read:0:16
          irpwright run MyDrivers.dll:MyFilter -r ioctl:0x222000:01020304:64 --schedule random:7

        Requests:
          read:OFFSET:LENGTH                      numbers as 4096, 0x1000 or 4KiB
          write:OFFSET:HEX|@FILE                  bytes as 00ff10, or those of a file
          ioctl:CODE[:IN-HEX|@FILE][:OUT-LENGTH]  as ioctl:0x222004::64 without input
          flush
          pnp:start|stop|remove|surprise|eject    also query-stop, cancel-stop, query-remove, cancel-remove
          power:S0..S5|D0..D3                     of the system, or of the device
          A suffix :cancel cancels it while it is pending, :x1000 repeats it, :async does not wait for it.

        A device that drivers with AddDevice attach to is started before the first request, unless that is one of pnp.

        Exit codes:
          0 clean, 1 violation, bug check or hang, 2 bad usage or input, 3 could not decide
        """;

    public static Command Create(Terminal terminal, string[] args)
    {
        var drivers = new Argument<string[]>("DRIVER")
        {
            Arity = ArgumentArity.ZeroOrMore,
            Description = $"Drivers, bottom up: .sys files, Assembly.dll:Type, or built in: {string.Join(", ", DriverSources.BuiltInNames)}",
        };
        var device = Option(
            "--device", "DEVICE", "At the bottom of the stack: ramdisk:SIZE, file:PATH, scripted, or root: a device without driver [default below filters: ramdisk:64KiB]");
        var open = Option(
            "--open", "NAME", @"Device to send requests to, such as \Device\Queue0 [default: the stack, or the only named device]");
        var requests = new Option<string[]>("--request", "-r")
        {
            HelpName = "REQUEST",
            Description = "A request to send; may be given several times (see below)",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = false,
        };
        var registry = new Option<string[]>("--registry")
        {
            HelpName = "FILE.reg",
            Description = "Keys and values that drivers find in the registry, as regedit exports them; may be given several times",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = false,
        };
        var lenient = new Option<bool>("--lenient") { Description = "Run drivers with unsupported imports; stop when one is used" };
        var verify = new Option<bool>("--verify") { Description = "Check the drivers against the rules" };
        var schedule = Option(
            "--schedule", "SCHEDULE", "Who runs when: fifo and random:SEED are repeatable, free is parallel and real time [default: fifo]");
        var trace = Option("--trace", "FORMAT[:FILE]", "What happens to each IRP, as text or json");
        var json = Option("--json", "FILE", "Write the results to a file as JSON");
        var watchdog = Option("--watchdog", "SECONDS", "How long driver code may run without calling the kernel [default: 10]");
        var command = new Command("run", "Load drivers, send requests, and show the results.")
        {
            drivers, device, open, requests, registry, lenient, verify, schedule, trace, json, watchdog,
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
                RegistryFiles = parsed.GetValue(registry) ?? [],
                Lenient = parsed.GetValue(lenient),
                Verify = parsed.GetValue(verify),
                Strategy = strategy,
                Seed = seed,
                Trace = parsed.GetValue(trace) is { } format ? TraceSpec.Parse(format) : TraceSpec.None,
                JsonFile = parsed.GetValue(json),
                Watchdog = ParseWatchdog(parsed.GetValue(watchdog)),
                Reproduce = "irpwright " + string.Join(' ', args.Select(Quote)),
            };
            if (options.Drivers.Count == 0 && options.Device is null)
                throw CommandException.BadInput("Name a driver or a --device. See 'irpwright run --help'.");
            using var session = new RunSession(options, terminal);
            return session.Run();
        });
        return command;
    }

    static Option<string> Option(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    static TimeSpan ParseWatchdog(string? text)
    {
        if (text is null) return TimeSpan.FromSeconds(DefaultWatchdogSeconds);
        if (!double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds)
            || seconds is <= 0 or > MaximumWatchdogSeconds)
            throw CommandException.BadInput($"--watchdog {text}: give seconds, more than 0 and at most {MaximumWatchdogSeconds}.");
        return TimeSpan.FromSeconds(seconds);
    }

    // Backslashes and parentheses would otherwise not survive a POSIX shell.
    static string Quote(string argument) =>
        argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:=@,+%".Contains(c))
            ? argument
            : $"'{argument.Replace("'", @"'\''", StringComparison.Ordinal)}'";
}
