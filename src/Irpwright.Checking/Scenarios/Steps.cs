namespace Irpwright.Checking.Scenarios;

/// <summary>What scenarios are made of.</summary>
static class Steps
{
    public const uint DefaultLength = 512;
    const uint LargeLength = 0x1_0003;

    static readonly uint[] UsualLengths = [0, 1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 48, 64, 96, 128, 256, DefaultLength, 1024, 4096, LargeLength];

    public static void Loaded(CheckBench bench, Action act)
    {
        if (bench.Load()) act();
        bench.Unload();
    }

    public static void Opened(CheckBench bench, Action<DeviceHandle> act) => Loaded(bench, () =>
    {
        foreach (string name in bench.DeviceNames)
        {
            if (bench.Open(name) is not { } handle) continue;
            act(handle);
            handle.Dispose();
            if (bench.Node is null or { State: DeviceNodeState.Deleted }) return;
        }
    });

    public static void Ordinary(CheckBench bench, DeviceHandle handle, DriverProfile profile)
    {
        foreach ((_, Func<CheckBench, IoRequest> make) in Kinds(profile)) bench.Do(handle, make(bench));
        if (profile.Handles(IRP_MJ_FLUSH_BUFFERS)) bench.Do(handle, new IoRequest(IRP_MJ_FLUSH_BUFFERS));
    }

    /// <summary>Puts the system to sleep and wakes it, if the drivers let it.</summary>
    public static void SleepAndWake(CheckBench bench, SYSTEM_POWER_STATE state = SYSTEM_POWER_STATE.PowerSystemSleeping3)
    {
        if (bench.Machine.Power.Sleep(state).IsSuccess) bench.Machine.Power.Wake();
    }

    /// <summary>Stops the device and starts it again, if the drivers let it be stopped.</summary>
    public static void StopAndStart(CheckBench bench)
    {
        if (bench.Machine.PlugAndPlay.Stop(bench.Node!).IsSuccess) bench.Machine.PlugAndPlay.Start(bench.Node!);
    }

    /// <summary>One request of each kind that the drivers know.</summary>
    public static IEnumerable<(string Name, Func<CheckBench, IoRequest> Make)> Kinds(DriverProfile profile)
    {
        foreach ((string name, byte major) in Transfers(profile)) yield return (name, bench => Transfer(bench, major, DefaultLength));
        if (!profile.Handles(IRP_MJ_DEVICE_CONTROL)) yield break;
        foreach (ControlRequest request in profile.ControlRequests) yield return ($"control-0x{request.Code:X}", bench => Control(bench, request));
    }

    /// <summary>Devices below that leave requests outstanding; a software driver has none below, and does so by itself or not.</summary>
    public static IReadOnlyList<LowerDevice> Pending(DriverProfile profile) =>
        profile.IsAboveScriptedDevice ? [LowerDevice.Later, LowerDevice.Never] : [LowerDevice.Now];

    public static string Below(DriverProfile profile, LowerDevice lower) =>
        !profile.IsAboveScriptedDevice ? "" : lower == LowerDevice.Never ? "-held" : "-later";

    public static string Above(DriverProfile profile, LowerDevice lower) => profile.IsAboveScriptedDevice ? $", above a device that {lower.Name}" : "";

    public static IoRequest Transfer(CheckBench bench, byte major, uint length, long offset = 0, uint misalignment = 0) =>
        new(major, bench.UserBuffer(length, misalignment: misalignment), length, offset);

    public static IoRequest Control(CheckBench bench, ControlRequest request)
    {
        uint input = request.InputLength ?? 64, output = request.OutputLength ?? 64;
        IoRequest made = Control(bench, request.Code, input, output);
        if (request.Input is { } bytes && input > 0) bytes.Span.CopyTo(GuestMemory.Write(made.Input, (int)input));
        return made;
    }

    public static IoRequest Control(CheckBench bench, uint code, uint input, uint output, byte pattern = 0x5A, uint misalignment = 0) =>
        new(IRP_MJ_DEVICE_CONTROL, output == 0 ? 0 : bench.UserBuffer(output, misalignment: misalignment), output, 0, code,
            input == 0 ? 0 : bench.UserBuffer(input, pattern, misalignment), input);

    /// <summary>Null, nothing mapped there, and an address of the kernel.</summary>
    public static ulong[] BadAddresses(CheckBench bench) => [0, 0x1000, bench.Machine.Memory.SliceBase + 0x1000];

    /// <summary>Usual lengths, and those at which the driver may decide otherwise.</summary>
    public static IReadOnlyList<uint> Lengths(DriverProfile profile) =>
        [.. profile.Lengths.SelectMany(length => (uint[])[length - 1, length, length + 1]).Concat(UsualLengths).Distinct().Order()];

    public static IEnumerable<(string Name, byte Major)> Transfers(DriverProfile profile)
    {
        if (profile.Handles(IRP_MJ_READ)) yield return ("read", IRP_MJ_READ);
        if (profile.Handles(IRP_MJ_WRITE)) yield return ("write", IRP_MJ_WRITE);
    }
}
