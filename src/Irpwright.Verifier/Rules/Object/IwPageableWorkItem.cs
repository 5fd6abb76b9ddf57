namespace Irpwright.Verification.Rules;

/// <summary>Work items are in lists that the kernel uses at DISPATCH_LEVEL.</summary>
sealed class IwPageableWorkItem : Rule, IWatch<WorkItemQueued>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPageableWorkItem), RuleFamily.Object, Error,
        Pages.Detected, Codes.Detected(0x131),
        "A work item that is queued lies in paged pool or in a pageable section.",
        static () => new IwPageableWorkItem())
    {
        Covers = ["DV-C4-0x131"],
        Instead = "Keep work items in nonpaged pool, such as in the device extension, or make them by IoAllocateWorkItem.",
        Wrong = """
            item = ExAllocatePoolWithTag(PagedPool, sizeof(WORK_QUEUE_ITEM), 'gaT1');
            ExInitializeWorkItem(item, Work, NULL);
            ExQueueWorkItem(item, DelayedWorkQueue);
            """,
        Right = """
            item = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(WORK_QUEUE_ITEM), 'gaT1');
            ExInitializeWorkItem(item, Work, NULL);
            ExQueueWorkItem(item, DelayedWorkQueue);
            """,
    };

    public void On(in WorkItemQueued e)
    {
        if (!GuestMemory.IsAccessible(e.WorkItem.Address, 1, PageAccess.Read | PageAccess.Pageable)) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} queued a work item at {Format.Address(e.WorkItem.Address)}, which is pageable memory; the kernel uses it at DISPATCH_LEVEL.");
    }
}
