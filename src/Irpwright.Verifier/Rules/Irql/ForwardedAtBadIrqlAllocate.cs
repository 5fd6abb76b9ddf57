namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="ForwardedAtBadIrql"/>, for IRPs from IoAllocateIrp (CALL-12).</summary>
sealed class ForwardedAtBadIrqlAllocate : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(ForwardedAtBadIrqlAllocate), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(ForwardedAtBadIrqlAllocate)), Codes.Io(0x23A),
        "An IRP from IoAllocateIrp is sent at DISPATCH_LEVEL with a major function whose dispatch routines need a lower IRQL.",
        static () => new ForwardedAtBadIrqlAllocate())
    {
        Instead = "Send the request at PASSIVE_LEVEL, or let a work item send it.",
        Wrong = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
            {
                irp = IoAllocateIrp(stackSize, FALSE);
                IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
                IoCallDriver(Extension->LowerDevice, irp);
            """,
        Right = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context) // queued by the DPC
            {
                irp = IoAllocateIrp(stackSize, FALSE);
                IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
                IoCallDriver(Extension->LowerDevice, irp);
            """,
    };

    public Situation When => Situation.Raised | Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin is not (IrpOrigin.Allocated or IrpOrigin.Initialized)) return;
        if (ForwardedAtBadIrql.IsBad(Tracker))
            Report(Tracker.Caller, Tracker.Irp.Name, ForwardedAtBadIrql.Sentence(Tracker));
    }
}
