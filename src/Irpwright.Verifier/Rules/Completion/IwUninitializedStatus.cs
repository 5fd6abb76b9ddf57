namespace Irpwright.Verification.Rules;

/// <summary>No driver means -1 by its status: it is what an uninitialised variable looks like.</summary>
sealed class IwUninitializedStatus : Rule, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUninitializedStatus), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x225),
        "A dispatch routine returns 0xFFFFFFFF.",
        static () => new IwUninitializedStatus());

    public void On(in DispatchReturned e)
    {
        if ((int)e.Status != -1) return;
        Report(Tracker.Visit.Place, Tracker.Visit.Irp,
            $"{Tracker.Visit} returned 0xFFFFFFFF for {Tracker.Visit.Irp}: probably a variable that was never set.");
    }
}
