namespace Irpwright.Verification.Rules;

/// <summary>No driver means -1 by its status: it is what an uninitialised variable looks like.</summary>
sealed class IwUninitializedStatus : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUninitializedStatus), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x225),
        "A dispatch routine returns 0xFFFFFFFF, or another value with the bit that no NTSTATUS has.",
        static () => new IwUninitializedStatus())
    {
        Covers = ["DV-C9-0x21B", "DV-C9-0x225", "DV-C9-0x300"],
        Instead = "Initialise the variable that is returned, on every path.",
        Wrong = """
            NTSTATUS status;
            if (length != 0) status = Transfer(Irp);
            return status;
            """,
        Right = """
            NTSTATUS status = STATUS_SUCCESS;
            if (length != 0) status = Transfer(Irp);
            return status;
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in DispatchReturned e)
    {
        if (IrpTracker.IsStatus(e.Status)) return;
        Report(Tracker.Visit.Place, Tracker.Visit.Irp,
            $"{Tracker.Visit} returned 0x{(uint)e.Status:X8} for {Tracker.Visit.Irp}: probably a variable that was never set.");
    }
}
