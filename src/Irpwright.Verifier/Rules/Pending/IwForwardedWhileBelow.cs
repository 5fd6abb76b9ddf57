namespace Irpwright.Verification.Rules;

/// <summary>An IRP that is pending below is not sent a second time (CALL-09).</summary>
sealed class IwForwardedWhileBelow : Rule, IWatch<IrpForwarding>
{
    public static RuleInfo Definition { get; } = new(nameof(IwForwardedWhileBelow), RuleFamily.Pending, Error,
        Pages.IoVerification, Codes.Io(0x205),
        "A driver sends an IRP on that a lower driver still has.",
        static () => new IwForwardedWhileBelow());

    public void On(in IrpForwarding e)
    {
        if (Tracker.Overtaken is not { } own || Tracker.Owner is not { } lower) return;
        Report(Tracker.Caller, own.Irp,
            $"{own} sent {own.Irp} down again while {lower} still has it. Wait until the completion routine has brought it back.");
    }
}
