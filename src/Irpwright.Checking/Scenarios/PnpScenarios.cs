using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Starting, stopping and removing the device, with and without requests outstanding; other drivers in the stack.</summary>
static class PnpScenarios
{
    const byte UnknownMinor = 0x5F;

    public static IEnumerable<CheckScenario> Of(DriverProfile profile) => [.. Sequences(profile), .. Unknown(), .. Filtered(profile)];

    static IEnumerable<CheckScenario> Sequences(DriverProfile profile)
    {
        yield return Managed("pnp-stop", "stopping the device and starting it again", (bench, node) =>
        {
            bench.Machine.PlugAndPlay.Stop(node);
            bench.Machine.PlugAndPlay.Start(node);
        });
        yield return Managed("pnp-query-stop", "asking for a stop and changing one's mind", (bench, node) =>
        {
            if (bench.Machine.PlugAndPlay.QueryStop(node).IsSuccess) bench.Machine.PlugAndPlay.CancelStop(node);
        });
        yield return Managed("pnp-query-remove", "asking for a removal and changing one's mind", (bench, node) =>
        {
            if (bench.Machine.PlugAndPlay.QueryRemove(node).IsSuccess) bench.Machine.PlugAndPlay.CancelRemove(node);
        });
        yield return Managed("pnp-remove", "removing the device", static (bench, node) => bench.Machine.PlugAndPlay.Remove(node), useAfterwards: false);
        yield return Managed("pnp-surprise", "removing the device by surprise", static (bench, node) => bench.Machine.PlugAndPlay.Unplug(node), useAfterwards: false);
        yield return new("pnp-surprise-open", "removing the device by surprise while it is open", bench => Opened(bench, handle =>
        {
            bench.Machine.PlugAndPlay.Unplug(bench.Node!);
            Ordinary(bench, handle, profile);
        }));
        foreach (LowerDevice lower in Pending(profile))
        {
            string below = Below(profile, lower);
            foreach ((string name, Func<CheckBench, IoRequest> make) in Kinds(profile))
            {
                yield return new($"pnp-surprise-{name}{below}", $"removing the device by surprise while a {name} is outstanding{Above(profile, lower)}",
                    bench => Opened(bench, handle => bench.Machine.RunTogether(
                        () => bench.Start(handle, make(bench)).Finish(),
                        () => bench.Machine.PlugAndPlay.Unplug(bench.Node!)))) { Lower = lower, IsExplored = true };
                yield return new($"pnp-stop-{name}{below}", $"stopping the device while a {name} is outstanding{Above(profile, lower)}",
                    bench => Opened(bench, handle => bench.Machine.RunTogether(
                        () => bench.Start(handle, make(bench)).Finish(),
                        () => StopAndStart(bench)))) { Lower = lower, IsExplored = true };
            }
        }

        CheckScenario Managed(string id, string title, Action<CheckBench, DeviceNode> act, bool useAfterwards = true) => new(id, title, bench =>
        {
            if (!bench.Load()) return;
            act(bench, bench.Node!);
            if (useAfterwards && bench.Open(bench.DeviceNames[0]) is { } handle)
            {
                Ordinary(bench, handle, profile);
                handle.Dispose();
            }
            bench.Unload();
        }) { WithFaults = true };
    }

    /// <summary>What the drivers have never heard of has to reach the bus driver.</summary>
    static IEnumerable<CheckScenario> Unknown()
    {
        yield return new("pnp-unknown", "a PnP request that nobody knows", bench => Loaded(bench, () =>
            bench.Machine.PlugAndPlay.Send(bench.Node!, UnknownMinor)));
        yield return new("power-unknown", "a power request that nobody knows", bench => Loaded(bench, () =>
            bench.Machine.PowerIrps.Send(bench.Node!, UnknownMinor)));
        yield return new("wmi-unknown", "a WMI request for a block that nobody has", bench => Loaded(bench, () =>
            bench.Machine.Wmi.Send(bench.Machine.Devices.IoGetAttachedDevice(bench.Node!.PhysicalDevice), IRP_MN_QUERY_ALL_DATA, Guid.Empty, new byte[64])));
    }

    /// <summary>Other people's filters around the drivers, which pass everything on.</summary>
    static IEnumerable<CheckScenario> Filtered(DriverProfile profile)
    {
        yield return new("filtered", "between two filters of others: requests, stop, sleep and removal", bench => Opened(bench, handle =>
        {
            Ordinary(bench, handle, profile);
            StopAndStart(bench);
            SleepAndWake(bench);
            Ordinary(bench, handle, profile);
        })) { Lower = LowerDevice.Later, IsFiltered = true };
        yield return new("filtered-surprise", "between two filters of others: removing the device by surprise while it is open", bench => Opened(bench, handle =>
        {
            bench.Machine.PlugAndPlay.Unplug(bench.Node!);
            Ordinary(bench, handle, profile);
        })) { Lower = LowerDevice.Later, IsFiltered = true };
    }
}
