namespace Irpwright.Verification.Rules;

/// <summary>The packet's Type says whether it is one (CALL-11).</summary>
sealed class IwSentNoIrp : Rule, IWatch<IrpForwarding>
{
    public static RuleInfo Definition { get; } = new(nameof(IwSentNoIrp), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x3),
        "IoCallDriver is given something that is no IRP, or was freed.",
        static () => new IwSentNoIrp())
    {
        Covers = ["DV-C9-0x03"],
        Instead = "Do not use an IRP after it was freed, or after it was completed.",
        Wrong = """
            IoFreeIrp(irp);
            IoCallDriver(lower, irp);
            """,
        Right = """
            IoCallDriver(lower, irp);    /* its completion routine frees it */
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarding e)
    {
        if (GuestMemory.IsAccessible(e.Irp.Address, IRP.SizeOf, PageAccess.Read) && e.Irp.Type == IO_TYPE_IRP) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} passed {e.Irp} to IoCallDriver, which is no IRP: it was freed, or never was one.");
    }
}
