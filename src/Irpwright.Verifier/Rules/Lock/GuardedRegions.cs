namespace Irpwright.Verification.Rules;

/// <summary>Guarded regions keep all APCs away from the thread, also those that finish its requests.</summary>
sealed class GuardedRegions() : RegionRule(KernelExports.KeLeaveGuardedRegion, "guarded")
{
    public static RuleInfo Definition { get; } = new(nameof(GuardedRegions), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(GuardedRegions)), Codes.Detected(0x0004000E),
        "KeLeaveGuardedRegion is called without KeEnterGuardedRegion, or a routine returns in a guarded region that it entered.",
        static () => new GuardedRegions())
    {
        Instead = "Leave the region on every path that leaves the routine, and only there.",
        Wrong = """
            KeEnterGuardedRegion();
            if (Extension->IsGone) return STATUS_DELETE_PENDING;
            KeLeaveGuardedRegion();
            """,
        Right = """
            KeEnterGuardedRegion();
            isGone = Extension->IsGone;
            KeLeaveGuardedRegion();
            if (isGone) return STATUS_DELETE_PENDING;
            """,
    };

    private protected override short NestingOf(uint disabled) => (short)(disabled >> 16);
}
