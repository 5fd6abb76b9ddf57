using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Loading, unloading, opening.</summary>
static class LifeScenarios
{
    public static IEnumerable<CheckScenario> Of(DriverProfile profile)
    {
        yield return new("load", "loading and unloading", bench =>
        {
            bench.Load();
            bench.Unload();
        }) { WithFaults = true };
        if (profile.CanUnload)
        {
            yield return new("load-again", "loading and unloading three times", bench =>
            {
                for (int i = 0; i < 3; i++)
                {
                    bench.Load();
                    bench.Unload();
                }
            });
        }
        yield return new("open", "opening and closing, twice at once and by a path", bench => Loaded(bench, () =>
        {
            foreach (string name in bench.DeviceNames)
            {
                using DeviceHandle? first = bench.Open(name);
                using DeviceHandle? second = bench.Open(name);
                using DeviceHandle? deeper = bench.Open(name + @"\directory\file");
            }
        })) { WithFaults = true };
    }
}
