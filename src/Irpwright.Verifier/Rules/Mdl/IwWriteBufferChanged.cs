namespace Irpwright.Verification.Rules;

/// <summary>The bytes of a write are the requestor's, who may use them for something else meanwhile.</summary>
sealed class IwWriteBufferChanged() : InvariantBufferRule(IRP_MJ_WRITE)
{
    public static RuleInfo Definition { get; } = new(nameof(IwWriteBufferChanged), RuleFamily.Mdl, Warning,
        Pages.Detected, Codes.Detected(0x1010),
        "A driver changes the contents of the MDL of an IRP_MJ_WRITE.",
        static () => new IwWriteBufferChanged())
    {
        Covers = ["DV-C4-0x1010"],
        Instead = "Change a copy in memory of the driver's own, and send that down with an MDL of its own.",
        Wrong = """
            data = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
            Encrypt(data, length);
            """,
        Right = """
            data = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
            RtlCopyMemory(copy, data, length);
            Encrypt(copy, length);
            """,
    };

    protected override bool IsInvariantUntilCompletion => true;

    protected override void Changed(CodePlace place, IrpRecord irp) => Report(place, irp.Name,
        $"{place} changed the data that {irp} is to write; they belong to the requestor, who may be using them.");
}
