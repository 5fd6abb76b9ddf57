namespace Irpwright.Verification.Rules;

/// <summary>The event, the status block and the buffers of the request must not go before it is over (BUILD-14).</summary>
sealed class IoBuildSynchronousFsdRequestWait() : UnawaitedRequest(control: false)
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildSynchronousFsdRequestWait), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(IoBuildSynchronousFsdRequestWait)), null,
        "IoCallDriver returns STATUS_PENDING for an IRP from IoBuildSynchronousFsdRequest, and the routine that sent it returns without waiting for its event.",
        static () => new IoBuildSynchronousFsdRequestWait())
    {
        Covers = ["DV-FP-NoWait"],
        Instead = "Wait for the event that was given to the IRP, if IoCallDriver returns STATUS_PENDING.",
        Wrong = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, &event, &block);
            IoCallDriver(lower, irp);
            return block.Status;
            """,
        Right = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, &event, &block);
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            return block.Status;
            """,
    };
}
