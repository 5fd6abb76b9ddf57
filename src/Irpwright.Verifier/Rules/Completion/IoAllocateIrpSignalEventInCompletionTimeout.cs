namespace Irpwright.Verification.Rules;

/// <summary>A lower driver that never completes the IRP takes the waiting driver with it.</summary>
sealed class IoAllocateIrpSignalEventInCompletionTimeout : UnboundedWait
{
    public static RuleInfo Definition { get; } = new(nameof(IoAllocateIrpSignalEventInCompletionTimeout), RuleFamily.Completion, Advice,
        Pages.Wdm(nameof(IoAllocateIrpSignalEventInCompletionTimeout)), null,
        "A driver waits without a limit for an IRP from IoAllocateIrp that a lower driver has.",
        static () => new IoAllocateIrpSignalEventInCompletionTimeout())
    {
        Instead = "Wait with a limit; when it is over, cancel the IRP and wait for its end before its event and buffers go.",
        Wrong = """
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            """,
        Right = """
            if (IoCallDriver(lower, irp) == STATUS_PENDING
                && KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &limit) == STATUS_TIMEOUT) {
                IoCancelIrp(irp);
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &longer);
            }
            """,
    };

    protected override bool Concerns(SentIrp sent, ulong awaited) => sent.Origin is IrpOrigin.Allocated or IrpOrigin.Initialized;
}
