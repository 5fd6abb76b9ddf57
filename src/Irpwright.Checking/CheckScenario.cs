namespace Irpwright.Checking;

/// <summary>One thing that the battery does to the drivers, on a machine of its own.</summary>
/// <param name="Id">Short, stable and printable: replay strings name it.</param>
/// <param name="Title">In a report: what was going on.</param>
/// <param name="Act">Does it, inside the machine. Nothing is loaded yet.</param>
public sealed record CheckScenario(string Id, string Title, Action<CheckBench> Act)
{
    public LowerDevice Lower { get; init; } = LowerDevice.Now;

    /// <summary>Whether the stack has filters below and above the drivers, which pass everything on.</summary>
    public bool IsFiltered { get; init; }

    /// <summary>Whether its interleavings are searched; otherwise it runs once, in the ordinary order.</summary>
    public bool IsExplored { get; init; }

    /// <summary>How many times as many interleavings as usual it deserves.</summary>
    public int Weight { get; init; } = 1;

    /// <summary>
    /// Whether it is run again for each place in the drivers where a kernel routine could fail, with that failing once; and whether in a
    /// search of interleavings any of them may fail at any time.
    /// </summary>
    public bool WithFaults { get; init; }

    /// <summary>Whether an exception of its own only means, in a run in which a kernel routine fails, that it could not go on.</summary>
    public bool GivesUpOnFaults { get; init; }

    public override string ToString() => Id;
}
