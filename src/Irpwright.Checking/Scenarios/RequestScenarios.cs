using static Irpwright.Checking.Scenarios.Steps;

namespace Irpwright.Checking.Scenarios;

/// <summary>Reads, writes and whatever else a program may ask for, in every size.</summary>
static class RequestScenarios
{
    static readonly (string Name, byte Major)[] Information =
    [
        ("query-information", IRP_MJ_QUERY_INFORMATION), ("set-information", IRP_MJ_SET_INFORMATION),
        ("query-volume-information", IRP_MJ_QUERY_VOLUME_INFORMATION), ("set-volume-information", IRP_MJ_SET_VOLUME_INFORMATION),
        ("directory-control", IRP_MJ_DIRECTORY_CONTROL),
    ];

    static readonly int[] InformationClasses = [1, 3, 4, 5, 9, 13, 14, 20, 22, 63];

    static readonly byte[] Others =
    [
        IRP_MJ_QUERY_EA, IRP_MJ_SET_EA, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_LOCK_CONTROL, IRP_MJ_QUERY_SECURITY, IRP_MJ_SET_SECURITY, IRP_MJ_QUERY_QUOTA,
        IRP_MJ_SET_QUOTA,
    ];

    public static IEnumerable<CheckScenario> Of(DriverProfile profile)
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
        foreach ((string name, byte major) in Information.Where(kind => profile.Handles(kind.Major)))
        {
            yield return new(name, $"{name.Replace('-', ' ')} of every class, with small and large buffers", bench => Opened(bench, handle =>
            {
                foreach (int informationClass in InformationClasses)
                {
                    foreach (uint length in (uint[])[0, 4, 64, 1024])
                        bench.Do(handle, new IoRequest(major, bench.UserBuffer(length), length) { InformationClass = informationClass });
                }
            }));
        }
        byte[] others = [.. Others.Where(profile.Handles)];
        if (others.Length > 0)
        {
            yield return new("other-functions", "requests of every other major function, without buffers", bench => Opened(bench, handle =>
            {
                foreach (byte major in others) bench.Do(handle, new IoRequest(major));
            }));
        }
        if (profile.Handles(IRP_MJ_SHUTDOWN))
            yield return new("shutdown", "shutting the system down", bench => Loaded(bench, () => bench.Machine.Shutdown.Notify()));
        yield return new("ordinary", "an ordinary request of each kind", bench => Opened(bench, handle => Ordinary(bench, handle, profile))) { WithFaults = true };
        yield return new("low-resources", "an ordinary request of each kind, while any kernel routine may fail", bench =>
            Opened(bench, handle => Ordinary(bench, handle, profile))) { WithFaults = true, IsExplored = true };
    }
}
