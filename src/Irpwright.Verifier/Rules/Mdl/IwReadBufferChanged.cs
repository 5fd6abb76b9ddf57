namespace Irpwright.Verification.Rules;

/// <summary>On the way down nothing has been read; a driver that uses the buffer for itself shows the requestor what is not meant for it.</summary>
sealed class IwReadBufferChanged() : InvariantBufferRule(IRP_MJ_READ)
{
    public static RuleInfo Definition { get; } = new(nameof(IwReadBufferChanged), RuleFamily.Mdl, Warning,
        Pages.Detected, Codes.Detected(0x1011),
        "A driver changes the contents of the MDL of an IRP_MJ_READ before it sends the IRP on.",
        static () => new IwReadBufferChanged())
    {
        Covers = ["DV-C4-0x1011"],
        Instead = "Write to the buffer when the request is completed, and keep intermediate data in memory of the driver's own.",
        Wrong = """
            RtlZeroMemory(MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority), length);
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(Lower, Irp);
            """,
        Right = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(Lower, Irp);
            """,
    };

    protected override bool IsInvariantUntilCompletion => false;

    protected override void Changed(CodePlace place, IrpRecord irp) => Report(place, irp.Name,
        $"{place} wrote to the buffer of {irp} before it sent the request on: nothing has been read yet.");
}
