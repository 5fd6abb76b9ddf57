namespace Irpwright.Verification.Rules;

/// <summary>Whatever else still runs when DriverUnload is called must have ended before it returns.</summary>
sealed class IwAllocatedWhileUnloading : Rule, IWatch<DriverUnloading>, IWatch<PoolAllocated>, IWatch<DriverUnloaded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwAllocatedWhileUnloading), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0x61),
        "A thread of a driver allocates pool while another one runs the driver's unload routine.",
        static () => new IwAllocatedWhileUnloading())
    {
        Covers = ["DV-C4-0x61"],
        Instead = "End the driver's threads, timers and work items before anything else in DriverUnload, and wait until they have ended.",
        Wrong = """
            VOID Unload(PDRIVER_OBJECT DriverObject) {
                ExFreePoolWithTag(Table, 'gaT1');
                StopThread(); // it still grows the table
            """,
        Right = """
            VOID Unload(PDRIVER_OBJECT DriverObject) {
                StopThread();
                ExFreePoolWithTag(Table, 'gaT1');
            """,
    };

    readonly List<(PDRIVER_OBJECT Driver, int Thread)> unloading = [];

    public void On(in DriverUnloading e) => unloading.Add((e.DriverObject, Tracker.Thread.Thread.Id));

    public void On(in DriverUnloaded e)
    {
        PDRIVER_OBJECT driver = e.DriverObject;
        unloading.RemoveAll(entry => entry.Driver == driver);
    }

    public void On(in PoolAllocated e)
    {
        if (unloading.Count == 0 || e.Owner == 0) return;
        foreach ((PDRIVER_OBJECT driver, int thread) in unloading)
        {
            if (thread == Tracker.Thread.Thread.Id || CodePlace.Find(Machine, e.Owner) is not { } owner || owner.Object != driver) continue;
            Report(Tracker.Caller, default,
                $"{Tracker.Caller} allocated {e.Size} bytes with tag {Pool.TagText(e.Tag)} while {owner.Name} is being unloaded: "
                    + "its code will be gone while that thread still runs.");
        }
    }
}
