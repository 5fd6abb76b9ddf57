namespace Irpwright.Verification.Rules;

/// <summary>
/// Who has completed an IRP, or sent it on, does not have it any more, unless a completion routine of his has taken it back with
/// STATUS_MORE_PROCESSING_REQUIRED. Another thread may be working on it, or it is freed by now.
/// </summary>
sealed class IwTouchedForeignIrp : MemoryRule, IWatch<LentIrpTouched>
{
    public static RuleInfo Definition { get; } = new(nameof(IwTouchedForeignIrp), RuleFamily.Memory, Error,
        Pages.Devtest("force-pending-i-o-requests"), null,
        "Compiled code reads or writes an IRP after its driver completed it or sent it on, and before the driver has it back.",
        static () => new IwTouchedForeignIrp())
    {
        Covers = ["DV-FP-TouchAfter"],
        Instead = "Read what is needed before the call, and return the status that the call returned. To look at the IRP afterwards, set a completion routine that returns STATUS_MORE_PROCESSING_REQUIRED, and wait for it.",
        Wrong = "IoCallDriver(lower, Irp);\nreturn Irp->IoStatus.Status;",
        Right = "return IoCallDriver(lower, Irp);",
    };

    public void On(in LentIrpTouched e)
    {
        IrpName name = NameOf(e.Irp.Address);
        Report(PlaceOf(e.Instruction), name,
            $"{Code(e.Instruction)} {(e.IsWrite ? "wrote" : "read")} byte 0x{e.Address - e.Irp.Address:X} of {name}, which its driver has completed or sent on and does not have.");
    }
}
