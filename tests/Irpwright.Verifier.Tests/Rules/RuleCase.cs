namespace Irpwright.Verification.Tests;

/// <summary>A rule, a driver that breaks it, and the nearest driver that does not.</summary>
/// <param name="Wrong">Writes the probes' routines so that they break the rule, and no other, when <see cref="Bench.Act"/> is done.</param>
/// <param name="Right">The same, but right.</param>
public sealed record RuleCase(string Rule, Action<Bench> Wrong, Action<Bench> Right)
{
    /// <summary>Tells cases of one rule apart.</summary>
    public string Name { get; init; } = "";

    /// <summary>The driver that is to blame.</summary>
    public string Driver { get; init; } = "upper";

    public int FilterCount { get; init; } = 1;

    /// <summary>Rules that the wrong driver cannot help breaking as well.</summary>
    public IReadOnlyList<string> Also { get; init; } = [];

    /// <summary>What follows from the mistake may break other rules, or not: the driver goes on with what is not its own any more.</summary>
    public bool MayAlso { get; init; }

    internal void CheckBroken()
    {
        using var bench = NewBench();
        Wrong(bench);
        bench.Do();
        if (MayAlso) Assert.Contains(Rule, bench.Verifier.Violations.Select(v => v.Rule.Name));
        else Assert.Equal([Rule, .. Also.Order(StringComparer.Ordinal)],
            bench.Verifier.Violations.Select(v => v.Rule.Name).Distinct().OrderBy(name => name != Rule).ThenBy(name => name, StringComparer.Ordinal));
        Assert.Equal(Driver, bench.Verifier.Violations.First(v => v.Rule.Name == Rule).Driver);
    }

    internal void CheckSilent()
    {
        using var bench = NewBench();
        Right(bench);
        bench.Do();
        Assert.Empty(bench.Verifier.Violations);
        Assert.Null(bench.Stop);
    }

    // Advice is off by default: the case's own rule is always watched for.
    Bench NewBench() => new(FilterCount, rules: [.. RuleCatalog.Default.Append(RuleCatalog.Find(Rule) ?? throw new InvalidOperationException($"{Rule} is no rule.")).Distinct()]);

    public override string ToString() => Name.Length == 0 ? Rule : $"{Rule} ({Name})";
}

/// <summary>A table of cases, one class for each family.</summary>
public interface IRuleCases
{
    static abstract IEnumerable<RuleCase> Cases { get; }
}
