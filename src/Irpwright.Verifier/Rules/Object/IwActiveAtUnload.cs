namespace Irpwright.Verification.Rules;

/// <summary>Whatever the kernel comes back to must be there: a driver ends it before it goes.</summary>
sealed class IwActiveAtUnload : Rule, IWatch<DriverUnloaded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwActiveAtUnload), RuleFamily.Object, Error,
        Pages.BugCheck("0xce--driver-unloaded-without-cancelling-pending-operations"),
        new(BugCheckCode.DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS),
        "A driver unloads while a timer of its is set, a DPC or executive work item of its is queued, or a lookaside list of its is not deleted.",
        static () => new IwActiveAtUnload())
    {
        Covers = ["BC-0xCE", "BC-0xD4"],
        Instead = "In DriverUnload, cancel timers, call KeFlushQueuedDpcs, wait for work items and delete lookaside lists.",
        Wrong = "VOID Unload(PDRIVER_OBJECT DriverObject) { IoDeleteDevice(Device); }",
        Right = """
            VOID Unload(PDRIVER_OBJECT DriverObject) {
                if (!KeCancelTimer(&Timer)) KeFlushQueuedDpcs();
                IoDeleteDevice(Device);
            }
            """,
    };

    public void On(in DriverUnloaded e)
    {
        foreach (ActiveObject active in Tracker.Active.All)
        {
            // A work item of an object keeps the object, and with it the driver.
            if (active is { Kind: ActiveKind.WorkItem, Size: IO_WORKITEM.SizeOf }) continue;
            bool isIts = active.Routine != 0 ? CodePlace.Find(Machine, active.Routine)?.Object == e.DriverObject : active.By.IsIn(e.DriverObject);
            if (!isIts) continue;
            string what = active.Kind switch
            {
                ActiveKind.Timer => "timer is still set",
                ActiveKind.Dpc => "DPC is still queued",
                ActiveKind.WorkItem => "work item is still queued",
                _ => "lookaside list was not deleted",
            };
            Report(active.By, default, $"{e.Name} was unloaded, but its {what}, at {Format.Address(active.Address)}; {active.By} left it.", (ulong)active.Kind);
        }
    }
}
