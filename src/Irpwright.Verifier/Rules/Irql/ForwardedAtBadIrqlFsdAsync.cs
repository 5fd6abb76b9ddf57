namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="ForwardedAtBadIrql"/>, for IRPs from IoBuildAsynchronousFsdRequest (CALL-12).</summary>
sealed class ForwardedAtBadIrqlFsdAsync : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(ForwardedAtBadIrqlFsdAsync), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(ForwardedAtBadIrqlFsdAsync)), Codes.Io(0x23A),
        "An IRP from IoBuildAsynchronousFsdRequest is sent at DISPATCH_LEVEL with a major function whose dispatch routines need a "
            + "lower IRQL.",
        static () => new ForwardedAtBadIrqlFsdAsync())
    {
        Instead = "Send the request at PASSIVE_LEVEL, or let a work item send it.",
        Wrong = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
            {
                irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
                IoCallDriver(lower, irp);
            """,
        Right = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context) // queued by the DPC
            {
                irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, NULL);
                IoCallDriver(lower, irp);
            """,
    };

    public Situation When => Situation.Raised | Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is null && Tracker.Irp.Origin is IrpOrigin.Asynchronous && ForwardedAtBadIrql.IsBad(Tracker))
            Report(Tracker.Caller, Tracker.Irp.Name, ForwardedAtBadIrql.Sentence(Tracker));
    }
}
