using Irpwright.Exploration;
using Irpwright.Verification;

namespace Irpwright.Testing;

/// <summary>How schedules are chosen.</summary>
public enum SearchKind
{
    /// <summary>Random and Pct in turns: what one is blind for the other finds.</summary>
    Mixed,
    /// <summary>Every choice with the same probability.</summary>
    Random,
    /// <summary>Random priorities with a few changes: finds bugs that need few orderings, whatever the length of the run.</summary>
    Pct,
    /// <summary>The ordinary order with a few delays.</summary>
    DelayBounded,
    /// <summary>Every schedule there is, up to equivalence and the bound on preemptions.</summary>
    DepthFirst,
}

/// <summary>How a scenario is explored.</summary>
public sealed record ExploreOptions
{
    public SearchKind Search { get; init; }

    /// <summary>How many runs at most.</summary>
    public long Schedules { get; init; } = 1000;

    /// <summary>The same seed makes the same runs on every host.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>For <see cref="SearchKind.Pct"/> and <see cref="SearchKind.DelayBounded"/>: how many orderings a bug may need; 0 varies it.</summary>
    public int Depth { get; init; }

    /// <summary>For <see cref="SearchKind.DepthFirst"/>: how often a thread may be stopped although it could go on; null for no limit.</summary>
    public int? PreemptionBound { get; init; }

    /// <summary>
    /// For <see cref="SearchKind.DepthFirst"/>: whether runs that differ only in the order of steps that have nothing to do with each
    /// other are made once. Drivers that share memory with each other or with the scenario behind the kernel's back need false.
    /// </summary>
    public bool Reduce { get; init; } = true;

    /// <summary>Whether timers and devices may come while threads can still run.</summary>
    public bool TimeMayJump { get; init; } = true;

    /// <summary>How many scheduling points a run may pass before it counts as endless.</summary>
    public int StepLimit { get; init; } = 20_000;

    /// <summary>Which of <see cref="Shards"/> equal parts of the schedules to run, from 0.</summary>
    public int Shard { get; init; }

    public int Shards { get; init; } = 1;

    /// <summary>The rules to watch for; all there are, if null.</summary>
    public IReadOnlyList<RuleInfo>? Rules { get; init; }

    /// <summary>The search that these options describe, from its beginning.</summary>
    public ISearch NewSearch() => Search switch
    {
        SearchKind.DepthFirst => new DepthFirstSearch(PreemptionBound, TimeMayJump, Reduce, Shard, Shards),
        SearchKind.Random => new SeededSearch(Seed, static (seed, _) => new RandomStrategy(seed), Shard, Shards),
        SearchKind.Pct => new SeededSearch(Seed, NewPct, Shard, Shards),
        SearchKind.DelayBounded => new SeededSearch(Seed, (seed, length) => new DelayBoundedStrategy(seed, DepthFor(seed), length), Shard, Shards),
        _ => new SeededSearch(Seed, (seed, length) => seed % 2 == 0 ? new RandomStrategy(seed) : NewPct(seed, length), Shard, Shards),
    };

    PctStrategy NewPct(ulong seed, int length) => new(seed, DepthFor(seed), length);

    // Few orderings are more likely than many, and each costs.
    int DepthFor(ulong seed) => Depth > 0 ? Depth : 1 + (int)(seed >> 1) % 5;
}
