namespace Irpwright.Verification.Rules;

/// <summary>The handle of a registration is good until EtwUnregister, once.</summary>
sealed class IwEtwUnregisteredTwice : Rule, IWatchReturns
{
    public static RuleInfo Definition { get; } = new(nameof(IwEtwUnregisteredTwice), RuleFamily.Object, Error,
        Pages.Detected, Codes.Detected(0xDC),
        "EtwUnregister is called with a handle of no registration.",
        static () => new IwEtwUnregisteredTwice())
    {
        Covers = ["DV-C4-0xDC"],
        Instead = "Call EtwUnregister once for each EtwRegister that succeeded; set the handle to 0 then.",
        Wrong = """
            EtwUnregister(Provider);
            EtwUnregister(Provider);
            """,
        Right = """
            EtwUnregister(Provider);
            Provider = 0;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.EtwUnregister];

    public void Returned(in DdiReturned e)
    {
        if ((int)e.Result >= 0) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called EtwUnregister with handle 0x{e.Arguments[0]:x}, which belongs to no registration.");
    }
}
