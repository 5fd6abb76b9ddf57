namespace Irpwright.Verification.Rules;

/// <summary>A work item is in a queue until a worker calls its routine.</summary>
sealed class IwFreedQueuedWorkItem() : FreedMemoryRule(ActiveKind.WorkItem)
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedQueuedWorkItem), RuleFamily.Object, Error,
        Pages.BugCheck("0xe4--worker-invalid"), new(BugCheckCode.WORKER_INVALID, 0),
        "Memory is freed that contains a work item which is queued.",
        static () => new IwFreedQueuedWorkItem())
    {
        Covers = ["BC-0xE4-0x0"],
        Instead = "Free the memory in the work item's routine, or wait until that has run.",
        Wrong = """
            ExQueueWorkItem(&context->Item, DelayedWorkQueue);
            ExFreePoolWithTag(context, 'gaT1');
            """,
        Right = """
            ExQueueWorkItem(&context->Item, DelayedWorkQueue);
            KeWaitForSingleObject(&context->RoutineDone, Executive, KernelMode, FALSE, NULL);
            ExFreePoolWithTag(context, 'gaT1');
            """,
    };

    protected override string What => "a work item that is queued";

    protected override string Consequence => "A worker thread will call whatever address is in that memory then.";
}
