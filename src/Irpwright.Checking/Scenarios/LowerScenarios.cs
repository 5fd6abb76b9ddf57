using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Every way in which the device below may answer.</summary>
static class LowerScenarios
{
    public static IEnumerable<CheckScenario> Of(DriverProfile profile)
    {
        if (!profile.IsAboveScriptedDevice) yield break;
        foreach (LowerDevice lower in LowerDevice.All)
        {
            yield return new($"lower-{lower.Name.Replace(' ', '-')}", $"requests above a device that {lower.Name}", bench => Opened(bench, handle =>
            {
                Ordinary(bench, handle, profile);
                Ordinary(bench, handle, profile);
            })) { Lower = lower, WithFaults = lower == LowerDevice.Later };
        }
    }
}
