using System.Globalization;
using Irpwright.Exploration;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary>What <c>run</c> was asked to do, checked.</summary>
sealed record RunOptions
{
    public required IReadOnlyList<string> Drivers { get; init; }

    public DeviceSpec? Device { get; init; }

    public string? Open { get; init; }

    public IReadOnlyList<RequestSpec> Requests { get; init; } = [];

    /// <summary>Registration files, in the order in which they go into the registry.</summary>
    public IReadOnlyList<string> RegistryFiles { get; init; } = [];

    /// <summary>Whether drivers with unsupported imports are run.</summary>
    public bool Lenient { get; init; }

    /// <summary>Whether the rules are on.</summary>
    public bool Verify { get; init; }

    /// <summary>Null for the free-running scheduler.</summary>
    public IScheduleStrategy? Strategy { get; init; }

    /// <summary>Also chooses what the machine chooses at random at load time.</summary>
    public ulong Seed { get; init; }

    public TraceSpec Trace { get; init; } = TraceSpec.None;

    public string? JsonFile { get; init; }

    public TimeSpan Watchdog { get; init; }

    /// <summary>The command line, for reports.</summary>
    public string Reproduce { get; init; } = "";

    /// <exception cref="CommandException">Says which part is wrong.</exception>
    public static (IScheduleStrategy? Strategy, ulong Seed) ParseSchedule(string text)
    {
        string[] parts = text.Split(':', 2);
        switch (parts)
        {
            case ["free"]:
                return (null, 0);
            case ["fifo"]:
                return (new FifoStrategy(), 0);
            case ["random", var seed]:
                if (!ulong.TryParse(seed, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value))
                    throw CommandException.BadInput($"--schedule {text}: the seed '{seed}' is no number.");
                return (new RandomStrategy(value), value);
            case ["random"]:
                throw CommandException.BadInput("--schedule random: give a seed, as in random:1; the same seed repeats the run.");
            default:
                throw CommandException.BadInput($"--schedule {text}: '{parts[0]}' is no schedule; there are free, fifo and random:SEED.");
        }
    }
}
