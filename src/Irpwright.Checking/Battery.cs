namespace Irpwright.Checking;

/// <summary>All scenarios for drivers of a kind, the simplest first.</summary>
static class Battery
{
    const uint LargeLength = 0x1_0003;
    const uint DefaultLength = 512;
    const byte UnknownMinor = 0x5F;
    const uint UnknownFunction = 0xFF7;

    static readonly uint[] UsualLengths = [0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 48, 64, 96, 128, 256, DefaultLength, 1024, 4096, LargeLength];

    static readonly byte[] Patterns = [0x00, 0xFF, 0x5A];

    static readonly string[] Methods = ["buffered", "in direct", "out direct", "neither"];

    public static IReadOnlyList<CheckScenario> For(DriverProfile profile) =>
    [
        .. Life(profile),
        .. Requests(profile),
        .. ControlRequests(profile),
        .. LowerAnswers(profile),
        .. Cancellation(profile),
        .. Closing(profile),
        .. profile.IsPlugAndPlay ? [.. PlugAndPlay(profile), .. Power(profile), .. Unknown(), .. Filtered(profile)] : Array.Empty<CheckScenario>(),
        .. Races(profile),
    ];

    // ---- Life

    static IEnumerable<CheckScenario> Life(DriverProfile profile)
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

    // ---- Requests of every kind and size

    static IEnumerable<CheckScenario> Requests(DriverProfile profile)
    {
        IReadOnlyList<uint> lengths = Lengths(profile);
        foreach ((string name, byte major) in Transfers(profile))
        {
            yield return new($"{name}-sizes", $"{name}s of every size, also misaligned", bench => Opened(bench, handle =>
            {
                foreach (uint length in lengths)
                {
                    foreach (uint misalignment in (uint[])[0, 1]) bench.Do(handle, Transfer(bench, major, length, 0, misalignment));
                }
                bench.Do(handle, Transfer(bench, major, DefaultLength, 1));
                bench.Do(handle, Transfer(bench, major, DefaultLength, long.MaxValue - DefaultLength));
            }));
            yield return new($"{name}-buffered", $"{name}s above a device with buffered I/O", bench => Opened(bench, handle =>
            {
                foreach (uint length in lengths) bench.Do(handle, Transfer(bench, major, length));
            })) { Lower = LowerDevice.Now with { Buffering = DO_FLAGS.DO_BUFFERED_IO } };
            yield return new($"{name}-bad", $"{name}s with buffers that are not there", bench => Opened(bench, handle =>
            {
                foreach (ulong address in BadAddresses(bench)) bench.Do(handle, new IoRequest(major, address, DefaultLength));
            })) { Lower = LowerDevice.Now with { Buffering = 0 } };
        }
        if (profile.Handles(IRP_MJ_FLUSH_BUFFERS))
            yield return new("flush", "flushing", bench => Opened(bench, handle => bench.Do(handle, new IoRequest(IRP_MJ_FLUSH_BUFFERS)))) { WithFaults = true };
        if (profile.Handles(IRP_MJ_QUERY_INFORMATION))
        {
            yield return new("query-information", "file information of every class, with small and large buffers", bench => Opened(bench, handle =>
            {
                foreach (int informationClass in (int[])[4, 5, 9, 14, 22, 63])
                {
                    foreach (uint length in (uint[])[0, 4, 64, 1024])
                        bench.Do(handle, new IoRequest(IRP_MJ_QUERY_INFORMATION, bench.UserBuffer(length), length) { InformationClass = informationClass });
                }
            }));
        }
        if (profile.Handles(IRP_MJ_SHUTDOWN))
            yield return new("shutdown", "shutting the system down", bench => Loaded(bench, () => bench.Machine.Shutdown.Notify()));
        yield return new("ordinary", "an ordinary request of each kind", bench => Opened(bench, handle => Ordinary(bench, handle, profile))) { WithFaults = true };
        yield return new("low-resources", "an ordinary request of each kind, while any kernel routine may fail", bench =>
            Opened(bench, handle => Ordinary(bench, handle, profile))) { WithFaults = true, IsExplored = true };
    }

    /// <summary>Usual lengths, and those at which the driver may decide otherwise.</summary>
    static IReadOnlyList<uint> Lengths(DriverProfile profile) =>
        [.. profile.Lengths.SelectMany(length => (uint[])[length - 1, length, length + 1]).Concat(UsualLengths).Distinct().Order()];

    static IEnumerable<(string Name, byte Major)> Transfers(DriverProfile profile)
    {
        if (profile.Handles(IRP_MJ_READ)) yield return ("read", IRP_MJ_READ);
        if (profile.Handles(IRP_MJ_WRITE)) yield return ("write", IRP_MJ_WRITE);
    }

    static IEnumerable<CheckScenario> ControlRequests(DriverProfile profile)
    {
        if (!profile.Handles(IRP_MJ_DEVICE_CONTROL)) yield break;
        IReadOnlyList<uint> lengths = Lengths(profile);
        foreach (ControlRequest request in profile.ControlRequests)
        {
            uint code = request.Code;
            yield return new($"control-0x{code:X8}", $"control request 0x{code:X8} with buffers of every size", bench => Opened(bench, handle =>
            {
                if (request.Input is not null) bench.Do(handle, Control(bench, request));
                foreach ((uint input, uint output) in LengthsAround(request, lengths))
                {
                    foreach (byte pattern in Patterns) bench.Do(handle, Control(bench, code, input, output, pattern));
                }
                bench.Do(handle, Control(bench, code, 16, 16, 0x5A, misalignment: 1));
            }));
            if (METHOD_FROM_CTL_CODE(code) != METHOD_NEITHER) continue;
            yield return new($"control-0x{code:X8}-bad", $"control request 0x{code:X8} with buffers that are not there", bench => Opened(bench, handle =>
            {
                ulong good = bench.UserBuffer(64);
                foreach (ulong address in BadAddresses(bench))
                {
                    bench.Do(handle, new IoRequest(IRP_MJ_DEVICE_CONTROL, good, 64, 0, code, address, 64));
                    bench.Do(handle, new IoRequest(IRP_MJ_DEVICE_CONTROL, address, 64, 0, code, good, 64));
                }
            }));
        }
        yield return new("control-unknown", "control requests that no driver knows, in all four transfer methods", bench => Opened(bench, handle =>
        {
            for (uint method = 0; method < Methods.Length; method++)
                bench.Do(handle, Control(bench, CTL_CODE(FILE_DEVICE_UNKNOWN, UnknownFunction, method, FILE_ANY_ACCESS), 16, 16));
        }));
    }

    /// <summary>Input and output lengths: both, or only one of them, and those around what is known of this request.</summary>
    static IEnumerable<(uint Input, uint Output)> LengthsAround(ControlRequest request, IReadOnlyList<uint> lengths)
    {
        uint input = request.InputLength ?? 0, output = request.OutputLength ?? 0;
        (uint, uint)[] around = [(input, output), (input - 1, output), (input + 1, output), (input, output - 1), (input, output + 1)];
        return lengths.SelectMany(length => ((uint, uint)[])[(length, length), (length, 0), (0, length)])
            .Concat(around.Where(pair => pair is (< uint.MaxValue, < uint.MaxValue))).Distinct();
    }

    static IEnumerable<CheckScenario> LowerAnswers(DriverProfile profile)
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

    // ---- Cancellation, closing, ends of threads

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

    // ---- Plug and Play and power

    static IEnumerable<CheckScenario> PlugAndPlay(DriverProfile profile)
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
                        () =>
                        {
                            if (bench.Machine.PlugAndPlay.Stop(bench.Node!).IsSuccess) bench.Machine.PlugAndPlay.Start(bench.Node!);
                        }))) { Lower = lower, IsExplored = true };
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

    static IEnumerable<CheckScenario> Power(DriverProfile profile)
    {
        foreach (SYSTEM_POWER_STATE state in (SYSTEM_POWER_STATE[])[SYSTEM_POWER_STATE.PowerSystemSleeping3, SYSTEM_POWER_STATE.PowerSystemHibernate])
        {
            string name = state == SYSTEM_POWER_STATE.PowerSystemSleeping3 ? "S3" : "S4";
            yield return new($"power-{name}", $"putting the system to {name} and waking it", bench => Opened(bench, handle =>
            {
                if (bench.Machine.Power.Sleep(state).IsSuccess) bench.Machine.Power.Wake();
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
                    () =>
                    {
                        if (bench.Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3).IsSuccess) bench.Machine.Power.Wake();
                    }))) { Lower = LowerDevice.Later, IsExplored = true };
        }
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
            if (bench.Machine.PlugAndPlay.Stop(bench.Node!).IsSuccess) bench.Machine.PlugAndPlay.Start(bench.Node!);
            if (bench.Machine.Power.Sleep(SYSTEM_POWER_STATE.PowerSystemSleeping3).IsSuccess) bench.Machine.Power.Wake();
            Ordinary(bench, handle, profile);
        })) { Lower = LowerDevice.Later, IsFiltered = true };
        yield return new("filtered-surprise", "between two filters of others: removing the device by surprise while it is open", bench => Opened(bench, handle =>
        {
            bench.Machine.PlugAndPlay.Unplug(bench.Node!);
            Ordinary(bench, handle, profile);
        })) { Lower = LowerDevice.Later, IsFiltered = true };
    }

    // ---- Two things at once

    static IEnumerable<CheckScenario> Races(DriverProfile profile)
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

    // ---- Pieces

    static void Loaded(CheckBench bench, Action act)
    {
        if (bench.Load()) act();
        bench.Unload();
    }

    static void Opened(CheckBench bench, Action<DeviceHandle> act) => Loaded(bench, () =>
    {
        foreach (string name in bench.DeviceNames)
        {
            if (bench.Open(name) is not { } handle) continue;
            act(handle);
            handle.Dispose();
            if (bench.Node is null or { State: DeviceNodeState.Deleted }) return;
        }
    });

    static void Ordinary(CheckBench bench, DeviceHandle handle, DriverProfile profile)
    {
        foreach ((_, Func<CheckBench, IoRequest> make) in Kinds(profile)) bench.Do(handle, make(bench));
        if (profile.Handles(IRP_MJ_FLUSH_BUFFERS)) bench.Do(handle, new IoRequest(IRP_MJ_FLUSH_BUFFERS));
    }

    /// <summary>One request of each kind that the drivers know.</summary>
    static IEnumerable<(string Name, Func<CheckBench, IoRequest> Make)> Kinds(DriverProfile profile)
    {
        foreach ((string name, byte major) in Transfers(profile)) yield return (name, bench => Transfer(bench, major, DefaultLength));
        if (!profile.Handles(IRP_MJ_DEVICE_CONTROL)) yield break;
        foreach (ControlRequest request in profile.ControlRequests) yield return ($"control-0x{request.Code:X}", bench => Control(bench, request));
    }

    /// <summary>Devices below that leave requests outstanding; a software driver has none below, and does so by itself or not.</summary>
    static IReadOnlyList<LowerDevice> Pending(DriverProfile profile) =>
        profile.IsAboveScriptedDevice ? [LowerDevice.Later, LowerDevice.Never] : [LowerDevice.Now];

    static string Below(DriverProfile profile, LowerDevice lower) =>
        !profile.IsAboveScriptedDevice ? "" : lower == LowerDevice.Never ? "-held" : "-later";

    static string Above(DriverProfile profile, LowerDevice lower) => profile.IsAboveScriptedDevice ? $", above a device that {lower.Name}" : "";

    static IoRequest Transfer(CheckBench bench, byte major, uint length, long offset = 0, uint misalignment = 0) =>
        new(major, bench.UserBuffer(length, misalignment: misalignment), length, offset);

    static IoRequest Control(CheckBench bench, ControlRequest request)
    {
        uint input = request.InputLength ?? 64, output = request.OutputLength ?? 64;
        IoRequest made = Control(bench, request.Code, input, output);
        if (request.Input is { } bytes && input > 0) bytes.Span.CopyTo(GuestMemory.Write(made.Input, (int)input));
        return made;
    }

    static IoRequest Control(CheckBench bench, uint code, uint input, uint output, byte pattern = 0x5A, uint misalignment = 0) =>
        new(IRP_MJ_DEVICE_CONTROL, output == 0 ? 0 : bench.UserBuffer(output, misalignment: misalignment), output, 0, code,
            input == 0 ? 0 : bench.UserBuffer(input, pattern, misalignment), input);

    /// <summary>Null, nothing mapped there, and an address of the kernel.</summary>
    static ulong[] BadAddresses(CheckBench bench) => [0, 0x1000, bench.Machine.Memory.SliceBase + 0x1000];
}
