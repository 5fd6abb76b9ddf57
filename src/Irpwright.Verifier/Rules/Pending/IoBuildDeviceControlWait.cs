namespace Irpwright.Verification.Rules;

/// <summary>The event, the status block and the buffers of the request must not go before it is over (BUILD-14).</summary>
sealed class IoBuildDeviceControlWait() : UnawaitedRequest(control: true)
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildDeviceControlWait), RuleFamily.Pending, Error,
        Pages.Wdm(nameof(IoBuildDeviceControlWait)), null,
        "IoCallDriver returns STATUS_PENDING for an IRP from IoBuildDeviceIoControlRequest, and the routine that sent it returns without waiting for its event, or after a wait that an alert ended.",
        static () => new IoBuildDeviceControlWait())
    {
        Covers = ["DV-LRS-AlertedWait"],
        Instead = "Wait for the event that was given to the IRP, if IoCallDriver returns STATUS_PENDING; wait again if an alertable wait ends with STATUS_ALERTED.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoCallDriver(lower, irp);
            return block.Status;
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            return block.Status;
            """,
    };
}
