namespace Irpwright.Verification.Rules;

/// <summary>A routine that somebody waits for is registered for every outcome (REG-03).</summary>
sealed class SignalEventInCompletion2() : UnsignaledWait(Unsignaled.NotInvoked)
{
    public static RuleInfo Definition { get; } = new(nameof(SignalEventInCompletion2), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(SignalEventInCompletion2)), null,
        "A routine waits for ever for an event after it sent an IRP that the driver received, as its completion routine is not registered for what became of the IRP.",
        static () => new SignalEventInCompletion2())
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

    protected override bool Concerns(SentIrp sent) => !sent.IsOwn;
}
