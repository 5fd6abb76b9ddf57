using Irpwright.Checking.Scenarios;

namespace Irpwright.Checking;

/// <summary>All scenarios for drivers of a kind, the simplest first.</summary>
static class Battery
{
    public static IReadOnlyList<CheckScenario> For(DriverProfile profile) =>
    [
        .. LifeScenarios.Of(profile),
        .. RequestScenarios.Of(profile),
        .. ControlScenarios.Of(profile),
        .. LowerScenarios.Of(profile),
        .. EndScenarios.Of(profile),
        .. profile.IsPlugAndPlay ? [.. PnpScenarios.Of(profile), .. PowerScenarios.Of(profile)] : Array.Empty<CheckScenario>(),
        .. RaceScenarios.Of(profile),
    ];
}
