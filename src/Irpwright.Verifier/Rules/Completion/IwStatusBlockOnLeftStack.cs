namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager writes to it when the request is over (BUILD-14).</summary>
sealed class IwStatusBlockOnLeftStack() : LeftStackRule("a status block")
{
    public static RuleInfo Definition { get; } = new(nameof(IwStatusBlockOnLeftStack), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0xC),
        "A threaded IRP is completed whose status block lies on a part of a stack that its routine has left.",
        static () => new IwStatusBlockOnLeftStack())
    {
        Covers = ["DV-C9-0x0C"],
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

    protected override ulong AddressIn(PIRP irp) => irp.UserIosb.Address;
}
