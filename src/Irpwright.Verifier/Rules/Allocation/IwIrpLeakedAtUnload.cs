namespace Irpwright.Verification.Rules;

/// <summary>An IRP that a driver made is freed by nobody else (ALLOC-07, ALLOC-10). Driver Verifier finds it as a block of pool that is left.</summary>
sealed class IwIrpLeakedAtUnload : Rule, IWatch<DriverUnloaded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwIrpLeakedAtUnload), RuleFamily.Allocation, Error,
        Pages.Detected, Codes.Detected(0x62),
        "A driver unloads while an IRP that it made with IoAllocateIrp, an IoBuild routine or IoMakeAssociatedIrp is neither freed nor completed.",
        static () => new IwIrpLeakedAtUnload())
    {
        Instead = "Free the IRP on every path of its completion routine, and on every path that does not send it.",
        Wrong = """
            if (!NT_SUCCESS(Irp->IoStatus.Status)) {
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            IoFreeIrp(Irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
            """,
        Right = """
            status = Irp->IoStatus.Status;
            IoFreeIrp(Irp);
            return STATUS_MORE_PROCESSING_REQUIRED;
            """,
    };

    public void On(in DriverUnloaded e)
    {
        foreach (IrpRecord irp in Tracker.Irps)
        {
            if (irp.Origin is not (IrpOrigin.Allocated or IrpOrigin.Asynchronous or IrpOrigin.Threaded or IrpOrigin.Associated)) continue;
            if (!irp.Maker.IsIn(e.DriverObject)) continue;
            string where = irp.Owner is { } owner ? $"; {owner} has it" : "";
            Report(irp.Maker, irp.Name, $"{e.Name} was unloaded, but {irp}, which {irp.Maker} made, was never freed{where}.");
        }
    }
}
