namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="ForwardedAtBadIrql"/>, for IRPs from IoBuildSynchronousFsdRequest (CALL-12).</summary>
sealed class ForwardedAtBadIrqlFsdSync : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(ForwardedAtBadIrqlFsdSync), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(ForwardedAtBadIrqlFsdSync)), Codes.Io(0x23A),
        "An IRP from IoBuildSynchronousFsdRequest is sent at DISPATCH_LEVEL with a major function whose dispatch routines need a lower "
            + "IRQL.",
        static () => new ForwardedAtBadIrqlFsdSync())
    {
        Instead = "Build and send the request at PASSIVE_LEVEL: it is finished in the thread that built it.",
        Wrong = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, &done, &iosb);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = IoCallDriver(lower, irp);
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, &done, &iosb);
            status = IoCallDriver(lower, irp);
            """,
    };

    public Situation When => Situation.Raised | Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is null && Tracker.Irp.Origin is IrpOrigin.Threaded && ForwardedAtBadIrql.IsBad(Tracker))
            Report(Tracker.Caller, Tracker.Irp.Name, ForwardedAtBadIrql.Sentence(Tracker));
    }
}
