namespace Irpwright.Verification.Rules;

/// <summary>Only a completion routine can take a driver's own IRP back and free it (REG-09, ALLOC-10).</summary>
sealed class IoAllocateForward : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IoAllocateForward), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoAllocateForward)), null,
        "An IRP from IoAllocateIrp is sent without a completion routine.",
        static () => new IoAllocateForward())
    {
        Instead = "Set a completion routine that frees or reuses the IRP and returns STATUS_MORE_PROCESSING_REQUIRED.",
        Wrong = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
            IoCallDriver(lower, irp);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize, FALSE);
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
            IoSetCompletionRoutine(irp, FreeOwnIrp, NULL, TRUE, TRUE, TRUE);
            IoCallDriver(lower, irp);
            """,
    };

    public Situation When => Situation.Originator | Situation.Unregistered;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin is not (IrpOrigin.Allocated or IrpOrigin.Initialized)) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp}, an IRP of its own, without a completion routine: nobody will free it, and the I/O "
                + "manager has no thread to finish it in.");
    }
}
