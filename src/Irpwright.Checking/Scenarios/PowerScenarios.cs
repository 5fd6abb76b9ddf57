using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>System and device power.</summary>
static class PowerScenarios
{
    public static IEnumerable<CheckScenario> Of(DriverProfile profile)
    {
        foreach (SYSTEM_POWER_STATE state in (SYSTEM_POWER_STATE[])[SYSTEM_POWER_STATE.PowerSystemSleeping3, SYSTEM_POWER_STATE.PowerSystemHibernate])
        {
            string name = state == SYSTEM_POWER_STATE.PowerSystemSleeping3 ? "S3" : "S4";
            yield return new($"power-{name}", $"putting the system to {name} and waking it", bench => Opened(bench, handle =>
            {
                SleepAndWake(bench, state);
                Ordinary(bench, handle, profile);
            })) { WithFaults = true };
        }
        yield return new("power-D3", "powering the device down and up", bench => Opened(bench, handle =>
        {
            bench.Machine.PowerIrps.SetDevicePower(bench.Node!, DEVICE_POWER_STATE.PowerDeviceD3);
            bench.Machine.PowerIrps.SetDevicePower(bench.Node!, DEVICE_POWER_STATE.PowerDeviceD0);
            Ordinary(bench, handle, profile);
        })) { WithFaults = true };
        foreach ((string name, Func<CheckBench, IoRequest> make) in Kinds(profile))
        {
            yield return new($"power-S3-{name}", $"putting the system to S3 while a {name} is outstanding", bench => Opened(bench, handle =>
                bench.Machine.RunTogether(
                    () => bench.Start(handle, make(bench)).Finish(),
                    () => SleepAndWake(bench)))) { Lower = LowerDevice.Later, IsExplored = true };
        }
    }
}
