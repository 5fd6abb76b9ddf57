namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="ForwardedAtBadIrql"/>, for IRPs from IoBuildSynchronousFsdRequest (CALL-12).</summary>
sealed class ForwardedAtBadIrqlFsdSync : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(ForwardedAtBadIrqlFsdSync), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(ForwardedAtBadIrqlFsdSync)), Codes.Io(0x23A),
        "An IRP from IoBuildSynchronousFsdRequest is sent at DISPATCH_LEVEL with a major function whose dispatch routines need a lower "
            + "IRQL.",
        static () => new ForwardedAtBadIrqlFsdSync());

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is null && Tracker.Irp.Origin is IrpOrigin.Threaded && ForwardedAtBadIrql.IsBad(Tracker))
            Report(Tracker.Caller, Tracker.Irp.Name, ForwardedAtBadIrql.Sentence(Tracker));
    }
}
