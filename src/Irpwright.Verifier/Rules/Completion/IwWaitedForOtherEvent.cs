namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager sets the event that the IRP was built with, and no other (BUILD-14).</summary>
sealed class IwWaitedForOtherEvent : Rule, IWatchEnd
{
    public static RuleInfo Definition { get; } = new(nameof(IwWaitedForOtherEvent), RuleFamily.Completion, Error,
        Pages.Devtest("force-pending-i-o-requests"), null,
        "A routine sends a threaded IRP and waits for ever for an event other than the one that it built the IRP with.",
        static () => new IwWaitedForOtherEvent())
    {
        Covers = ["DV-FP-WrongEvent"],
        Instead = "Wait for the event that was given to the routine that built the IRP.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoCallDriver(lower, irp);
            KeWaitForSingleObject(&extension->Ready, Executive, KernelMode, FALSE, NULL);
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            """,
    };

    public void Finished()
    {
        if (Machine.BugChecks.StopReason is null) return;
        foreach (ThreadContext thread in Tracker.Threads)
        {
            if (thread.Waiting is not { } waiting) continue;
            if (thread.SentBeforeWait is not { IsOwn: true, Origin: IrpOrigin.Threaded, Result: NTSTATUS.STATUS_PENDING } sent) continue;
            if (thread.WaitingFor.Address == sent.UserEvent.Address || sent.UserEvent.IsNull) continue;
            Report(sent.Place, sent.Irp,
                $"{waiting} sent {sent.Irp} and waits for the object at {thread.WaitingFor}, but the I/O manager sets the event at {sent.UserEvent}.");
        }
    }
}
