namespace Irpwright.Verification.Rules;

/// <summary>IoCancelIrp exchanges the cancel routine too: who gets it, and only he, goes on with the IRP (CANCEL-02).</summary>
sealed class IwCancelRoutineStored : MemoryRule, IWatch<CancelRoutineStored>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCancelRoutineStored), RuleFamily.Memory, Error,
        Pages.Devtest("28128-structure-member-directly-accessed"), null,
        "Compiled code stores to Irp->CancelRoutine, instead of exchanging it with IoSetCancelRoutine.",
        static () => new IwCancelRoutineStored())
    {
        Covers = ["CA-28128"],
        Instead = "Use IoSetCancelRoutine, and look at what it returns: NULL means that the cancel routine is on its way.",
        Wrong = "Irp->CancelRoutine = NULL;",
        Right = "if (IoSetCancelRoutine(Irp, NULL) != NULL) {\n    IoCompleteRequest(Irp, IO_NO_INCREMENT);\n}",
    };

    public void On(in CancelRoutineStored e)
    {
        IrpName name = NameOf(e.Irp.Address);
        Report(PlaceOf(e.Instruction), name, $"{Code(e.Instruction)} stored to the CancelRoutine of {name}; a cancellation meanwhile is lost, or is handled twice.");
    }
}
