namespace Irpwright.Verification.Rules;

/// <summary>Nothing but a completion routine tells a driver that its IRP is back (IMP-05).</summary>
sealed class IoAllocateIrpSignalEventInCompletion3() : UnsignaledWait(Unsignaled.NoRoutine)
{
    public static RuleInfo Definition { get; } = new(nameof(IoAllocateIrpSignalEventInCompletion3), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(IoAllocateIrpSignalEventInCompletion3)), null,
        "A routine waits for ever for an event after it sent an IRP from IoAllocateIrp, as it has no completion routine that could set it.",
        static () => new IoAllocateIrpSignalEventInCompletion3())
    {
        Covers = ["DV-FP-Sync"],
        Instead = "Register a completion routine that sets the event and returns STATUS_MORE_PROCESSING_REQUIRED.",
        Wrong = """
            if (IoCallDriver(lower, Irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            """,
        Right = """
            IoSetCompletionRoutine(Irp, Done, &event, TRUE, TRUE, TRUE);
            if (IoCallDriver(lower, Irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            """,
    };

    protected override bool Concerns(SentIrp sent) => sent is { IsOwn: true, Origin: IrpOrigin.Allocated or IrpOrigin.Initialized };
}
