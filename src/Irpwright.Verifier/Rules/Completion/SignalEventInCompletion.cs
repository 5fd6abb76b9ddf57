namespace Irpwright.Verification.Rules;

/// <summary>The waiting routine goes on when its completion routine sets the event (IMP-05).</summary>
sealed class SignalEventInCompletion() : UnsignaledWait(Unsignaled.ByRoutine)
{
    public static RuleInfo Definition { get; } = new(nameof(SignalEventInCompletion), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(SignalEventInCompletion)), null,
        "A routine waits for ever for an event after it sent an IRP that the driver received, as the completion routine was called with Irp->PendingReturned set and did not set the event.",
        static () => new SignalEventInCompletion())
    {
        Instead = "Set the event in the completion routine, at least if Irp->PendingReturned is set.",
        Wrong = """
            NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                UNREFERENCED_PARAMETER(Context);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            """,
        Right = """
            NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                if (Irp->PendingReturned) KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            """,
    };

    protected override bool Concerns(SentIrp sent) => !sent.IsOwn;
}
