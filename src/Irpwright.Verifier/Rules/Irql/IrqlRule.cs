namespace Irpwright.Verification.Rules;

/// <summary>A rule that names kernel routines and says at which IRQLs they may be called.</summary>
abstract class IrqlRule(byte lowest, byte highest, IReadOnlyList<KernelExport> routines) : Rule, IWatchCalls
{
    static readonly ILookup<string, KernelExport> ByName = KernelExports.All
        .SelectMany(static export => new[] { export.Name, export.SourceName }.Distinct().Select(name => (name, export)))
        .ToLookup(static pair => pair.name, static pair => pair.export, StringComparer.Ordinal);

    public IReadOnlyList<KernelExport> Calls => routines;

    /// <summary>Whether the rule has nothing against a call of one of its routines.</summary>
    internal virtual bool Allows(in DdiCalled e) => e.Irql >= lowest && e.Irql <= highest;

    public virtual void Called(in DdiCalled e)
    {
        if (!Allows(in e))
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, Sentence(Tracker.Caller, in e, lowest, highest), (ulong)e.Export.Index);
    }

    internal static string Sentence(CodePlace caller, in DdiCalled e, byte lowest, byte highest)
    {
        string allowed = lowest == highest ? $"{highest} only" : e.Irql > highest ? $"{highest} or below" : $"{lowest} or above";
        return $"{caller} called {e.Export.SourceName} at IRQL {e.Irql}; it may be called at IRQL {allowed}.";
    }

    /// <summary>The exports of these names, or that the headers call so. A routine that is not exported here cannot be called at all.</summary>
    private protected static IReadOnlyList<KernelExport> Exports(params IEnumerable<string> names) => [.. names.SelectMany(name => ByName[name])];
}
