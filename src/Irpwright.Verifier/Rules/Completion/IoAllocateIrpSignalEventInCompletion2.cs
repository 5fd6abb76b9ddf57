namespace Irpwright.Verification.Rules;

/// <summary>A routine that somebody waits for is registered for every outcome (REG-03).</summary>
sealed class IoAllocateIrpSignalEventInCompletion2() : UnsignaledWait(Unsignaled.NotInvoked)
{
    public static RuleInfo Definition { get; } = new(nameof(IoAllocateIrpSignalEventInCompletion2), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(IoAllocateIrpSignalEventInCompletion2)), null,
        "A routine waits for ever for an event after it sent an IRP from IoAllocateIrp, as its completion routine is not registered for what became of the IRP.",
        static () => new IoAllocateIrpSignalEventInCompletion2())
    {
        Instead = "Pass TRUE three times to IoSetCompletionRoutine.",
        Wrong = """
            IoSetCompletionRoutine(Irp, Done, &event, TRUE, FALSE, FALSE);
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
