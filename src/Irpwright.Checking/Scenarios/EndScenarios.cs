using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Requests that end before their time: cancelled, their handle closed, their thread gone.</summary>
static class EndScenarios
{
    public static IEnumerable<CheckScenario> Of(DriverProfile profile) => [.. Cancellation(profile), .. Closing(profile)];

    static IEnumerable<CheckScenario> Cancellation(DriverProfile profile)
    {
        foreach (LowerDevice lower in Pending(profile))
        {
            string below = Below(profile, lower);
            foreach ((string name, Func<CheckBench, IoRequest> make) in Kinds(profile))
            {
                yield return new($"cancel-{name}{below}", $"cancelling a {name} at once{Above(profile, lower)}", bench => Opened(bench, handle =>
                {
                    CheckRequest sent = bench.Start(handle, make(bench));
                    sent.Cancel();
                    sent.Finish();
                    bench.Do(handle, make(bench));
                })) { Lower = lower };
                yield return new($"cancel-race-{name}{below}", $"cancelling a {name} at any moment{Above(profile, lower)}", bench => Opened(bench, handle =>
                {
                    CheckRequest? sent = null;
                    bench.Machine.RunTogether(
                        () => (sent = bench.Start(handle, make(bench))).Finish(),
                        () =>
                        {
                            if (sent is null) bench.Machine.Scheduler.Yield(bench.Machine.CurrentThread, SchedulingPoint.Call);
                            handle.CancelAll();
                        });
                })) { Lower = lower, IsExplored = true };
            }
        }
    }

    static IEnumerable<CheckScenario> Closing(DriverProfile profile)
    {
        foreach (LowerDevice lower in Pending(profile))
        {
            string below = Below(profile, lower);
            foreach ((string name, Func<CheckBench, IoRequest> make) in Kinds(profile))
            {
                yield return new($"close-{name}{below}", $"closing the handle while a {name} is outstanding{Above(profile, lower)}", bench => Loaded(bench, () =>
                {
                    if (bench.DeviceNames is not [var device, ..] || bench.Open(device) is not { } handle) return;
                    CheckRequest sent = bench.Start(handle, make(bench));
                    handle.Dispose();
                    sent.Finish();
                })) { Lower = lower, IsExplored = true };
                yield return new($"thread-exit-{name}{below}", $"ending the thread that sent a {name}{Above(profile, lower)}", bench => Opened(bench, handle =>
                    bench.Machine.RunTogether(() => bench.Start(handle, make(bench))))) { Lower = lower };
            }
        }
    }
}
