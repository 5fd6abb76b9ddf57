namespace Irpwright.Verification.Rules;

/// <summary>Of a caller in the kernel the routine is a work item, and the context says to which queue it goes.</summary>
sealed class IwNotifyKeyContext : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwNotifyKeyContext), RuleFamily.Object, Error,
        Pages.Detected, Codes.Detected(0xFC),
        "ZwNotifyChangeKey is called with a work item and an ApcContext that is neither CriticalWorkQueue nor DelayedWorkQueue.",
        static () => new IwNotifyKeyContext())
    {
        Covers = ["DV-C4-0xFC"],
        Instead = "Pass DelayedWorkQueue as ApcContext; what the work item's routine needs goes into the work item.",
        Wrong = "status = ZwNotifyChangeKey(key, NULL, (PIO_APC_ROUTINE)&item, context, &iosb, REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, TRUE);",
        Right = """
            status = ZwNotifyChangeKey(key, NULL, (PIO_APC_ROUTINE)&item, (PVOID)DelayedWorkQueue, &iosb,
                REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, TRUE);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.ZwNotifyChangeKey];

    public void Called(in DdiCalled e)
    {
        if (e.Arguments[2] == 0 || e.Arguments[3] <= (ulong)WORK_QUEUE_TYPE.DelayedWorkQueue) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called ZwNotifyChangeKey with ApcContext 0x{e.Arguments[3]:x}; of a driver it is CriticalWorkQueue or DelayedWorkQueue.");
    }
}
