namespace Irpwright.Checking;

/// <summary>Notes what the drivers under test reach, over all runs.</summary>
sealed class Coverage
{
    readonly Lock gate = new();
    readonly bool[] called = new bool[KernelExports.All.Count];
    readonly HashSet<(string Image, uint Function)> functions = [];

    internal void Attach(Machine machine) => machine.Events.Add(new Watch(called));

    /// <summary>Takes down which functions of the images have run in a machine.</summary>
    internal void Collect(GuestDrivers guest)
    {
        lock (gate) functions.UnionWith(guest.ReachedFunctions);
    }

    /// <param name="allFunctions">How many there are.</param>
    internal CheckCoverage Result(int allFunctions) => new(
        [.. KernelExports.All.Where(export => called[export.Index]).Select(export => export.SourceName).Distinct().Order(StringComparer.Ordinal)],
        functions.Count, allFunctions);

    sealed class Watch(bool[] called) : KernelObserver
    {
        // Several machines write the same value.
        public override void On(in DdiCalled e) => called[e.Export.Index] = true;
    }
}
