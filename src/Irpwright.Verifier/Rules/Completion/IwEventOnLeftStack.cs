namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager writes to it when the request is over (BUILD-14).</summary>
sealed class IwEventOnLeftStack() : LeftStackRule("an event")
{
    public static RuleInfo Definition { get; } = new(nameof(IwEventOnLeftStack), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0xD),
        "A threaded IRP is completed whose event lies on a part of a stack that its routine has left.",
        static () => new IwEventOnLeftStack())
    {
        Covers = ["DV-C9-0x0D"],
        Instead = "Wait for the end of the request before the routine returns, or allocate from nonpaged pool.",
        Wrong = """
            KEVENT event;
            IO_STATUS_BLOCK block;
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            return IoCallDriver(lower, irp);
            """,
        Right = """
            KEVENT event;
            IO_STATUS_BLOCK block;
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            return block.Status;
            """,
    };

    protected override ulong AddressIn(PIRP irp) => irp.UserEvent.Address;
}
