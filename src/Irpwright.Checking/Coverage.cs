using Irpwright.Guest.Images;

namespace Irpwright.Checking;

/// <summary>Notes what the drivers under test reach, over all runs.</summary>
sealed class Coverage
{
    readonly Lock gate = new();
    readonly bool[] called = new bool[KernelExports.All.Count];
    readonly HashSet<(string Image, uint Block)> blocks = [];

    internal void Attach(Machine machine) => machine.Events.Add(new Watch(called));

    /// <summary>Takes down what of the images has run in a machine.</summary>
    internal void Collect(GuestDrivers guest)
    {
        lock (gate) blocks.UnionWith(guest.ReachedBlocks);
    }

    /// <param name="drivers">Those that count.</param>
    internal CheckCoverage Result(IEnumerable<DriverSource> drivers)
    {
        int functions = 0, allFunctions = 0, reached = 0, allBlocks = 0;
        foreach (PortableExecutable image in drivers.Select(driver => driver.Image).OfType<PortableExecutable>())
        {
            string name = Path.GetFileNameWithoutExtension(image.Name);
            functions += image.Functions.Count(function => blocks.Contains((name, function.BeginAddress)));
            reached += image.Blocks.Count(block => blocks.Contains((name, block)));
            allFunctions += image.Functions.Length;
            allBlocks += image.Blocks.Length;
        }
        return new(
        [.. KernelExports.All.Where(export => called[export.Index]).Select(export => export.SourceName).Distinct().Order(StringComparer.Ordinal)],
        functions, allFunctions, reached, allBlocks);
    }

    sealed class Watch(bool[] called) : KernelObserver
    {
        // Several machines write the same value.
        public override void On(in DdiCalled e) => called[e.Export.Index] = true;
    }
}
