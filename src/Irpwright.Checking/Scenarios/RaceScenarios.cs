using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Two things at once.</summary>
static class RaceScenarios
{
    public static IEnumerable<CheckScenario> Of(DriverProfile profile)
    {
        (string Name, Func<CheckBench, IoRequest> Make)[] kinds = [.. Kinds(profile)];
        for (int i = 0; i < kinds.Length; i++)
        {
            for (int j = i; j < Math.Min(kinds.Length, i + 2); j++)
            {
                (string Name, Func<CheckBench, IoRequest> Make) a = kinds[i], b = kinds[j];
                yield return new($"race-{a.Name}-{b.Name}", $"a {a.Name} and a {b.Name} at once", bench => Opened(bench, handle => bench.Machine.RunTogether(
                    () => bench.Do(handle, a.Make(bench)),
                    () => bench.Do(handle, b.Make(bench))))) { Lower = LowerDevice.Later, IsExplored = true, Weight = 3 };
            }
        }
        yield return new("race-open", "opening and closing in two threads", bench => Loaded(bench, () =>
        {
            if (bench.DeviceNames is not [var device, ..]) return;
            void Once() => bench.Open(device)?.Dispose();
            bench.Machine.RunTogether(Once, Once);
        })) { IsExplored = true };
    }
}
