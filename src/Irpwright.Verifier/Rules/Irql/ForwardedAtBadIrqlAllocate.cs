namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="ForwardedAtBadIrql"/>, for IRPs from IoAllocateIrp (CALL-12).</summary>
sealed class ForwardedAtBadIrqlAllocate : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(ForwardedAtBadIrqlAllocate), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(ForwardedAtBadIrqlAllocate)), Codes.Io(0x23A),
        "An IRP from IoAllocateIrp is sent at DISPATCH_LEVEL with a major function whose dispatch routines need a lower IRQL.",
        static () => new ForwardedAtBadIrqlAllocate());

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin is not (IrpOrigin.Allocated or IrpOrigin.Initialized)) return;
        if (ForwardedAtBadIrql.IsBad(Tracker))
            Report(Tracker.Caller, Tracker.Irp.Name, ForwardedAtBadIrql.Sentence(Tracker));
    }
}
