namespace Irpwright.Checking;

/// <summary>How thoroughly drivers are checked.</summary>
public sealed record CheckOptions
{
    /// <summary>Chooses the interleavings; the same seed gives the same findings.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Schedules for each scenario whose interleavings are searched; two requests at once get three times as many.</summary>
    public int Schedules { get; init; } = 100;

    /// <summary>Host time after which no further scenario begins; after twice as much those that are on their way are given up.</summary>
    public TimeSpan Budget { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Control requests to send, besides those of the stack and the codes that show in the images.</summary>
    public IReadOnlyList<ControlRequest> ControlRequests { get; init; } = [];

    /// <summary>Rules to watch for; all but advice, if null.</summary>
    public IReadOnlyList<RuleInfo>? Rules { get; init; }

    /// <summary>What is known and not to be reported.</summary>
    public MuteList Mutes { get; init; } = new();

    /// <summary>Which scenarios to run, by what their ids begin with; all, if empty.</summary>
    public IReadOnlyList<string> Include { get; init; } = [];

    /// <summary>Which of those to leave out, in the same way.</summary>
    public IReadOnlyList<string> Exclude { get; init; } = [];

    /// <inheritdoc cref="MachineOptions.AvoidsTailCalls"/>
    public bool AvoidsTailCalls { get; init; }

    /// <summary>Scenarios at the same time.</summary>
    public int Workers { get; init; } = Environment.ProcessorCount;
}
