namespace Irpwright.Verification.Rules;

/// <summary>The system keeps a list of all resources: each goes in once and comes out once.</summary>
sealed class IwResourceLifetime : Rule, IWatchCalls, IWatch<PoolAllocated>, IWatch<PoolFreed>, IWatch<DriverUnloaded>
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.ExInitializeResourceLite, KernelExports.ExDeleteResourceLite];

    // And which driver initialised them.
    readonly Dictionary<ulong, string?> live = [];

    public static RuleInfo Definition { get; } = new(nameof(IwResourceLifetime), RuleFamily.Lock, Error,
        Pages.Detected, Codes.Detected(0xD0),
        "A resource is initialised that is initialised already, or deleted that is not, or its memory is freed before it is deleted.",
        static () => new IwResourceLifetime())
    {
        Covers = ["DV-C4-0xD0", "DV-C4-0xD1", "DV-C4-0xD2", "DV-C4-0x17"],
        Instead = "Call ExInitializeResourceLite once and ExDeleteResourceLite once for each resource; ExReinitializeResourceLite in between.",
        Wrong = """
            ExInitializeResourceLite(&Extension->Resource); // in AddDevice
            ExInitializeResourceLite(&Extension->Resource); // in IRP_MN_START_DEVICE
            """,
        Right = """
            ExInitializeResourceLite(&Extension->Resource); // in AddDevice
            ExReinitializeResourceLite(&Extension->Resource); // in IRP_MN_START_DEVICE
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        ulong address = e.Arguments[0];
        bool creates = e.Export == KernelExports.ExInitializeResourceLite;
        bool isWrong = creates ? !live.TryAdd(address, Tracker.Caller.DriverName) : !live.Remove(address) && !IsInitialized(address);
        if (isWrong)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} {(creates ? "initialised" : "deleted")} the resource at {Format.Address(address)}, "
                    + (creates ? "which is initialised already." : "which was never initialised, or is deleted already."));
        if (!creates) deleted.Add(address);
        else deleted.Remove(address);
    }

    // Memory does not show that a resource was deleted.
    readonly HashSet<ulong> deleted = [];

    // One from before the verifier came.
    bool IsInitialized(ulong address) => !deleted.Contains(address) && new PERESOURCE(address).SystemResourcesList.Flink.Address == address;

    // New memory: what lay there before is gone.
    public void On(in PoolAllocated e)
    {
        if (live.Count > 0 || deleted.Count > 0) Forget(e.Address, e.Size);
    }

    void Forget(ulong start, ulong size)
    {
        foreach (ulong address in live.Keys)
        {
            if (address - start < size) live.Remove(address);
        }
        deleted.RemoveWhere(address => address - start < size);
    }

    public void On(in PoolFreed e)
    {
        if (live.Count == 0 || !Machine.Pool.TryFind(e.Address, out PoolBlock block)) return;
        foreach (ulong address in live.Keys)
        {
            if (address - block.Address >= block.Size) continue;
            live.Remove(address);
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
                $"{Tracker.Caller} freed the pool block at {Format.Address(block.Address)}, in which the resource at {Format.Address(address)} is still initialised.");
        }
    }

    public void On(in DriverUnloaded e)
    {
        foreach ((ulong address, string? driver) in live)
        {
            if (driver == e.Name) live.Remove(address);
        }
    }
}
