namespace Irpwright.Verification.Rules;

/// <summary>Critical regions keep normal kernel APCs away from the thread, and nest.</summary>
sealed class CriticalRegions() : RegionRule(KernelExports.KeLeaveCriticalRegion, "critical")
{
    public static RuleInfo Definition { get; } = new(nameof(CriticalRegions), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(CriticalRegions)), Codes.Detected(0x00040003),
        "KeLeaveCriticalRegion is called without KeEnterCriticalRegion, or a routine returns in a critical region that it entered.",
        static () => new CriticalRegions())
    {
        Covers = ["DV-C4-0x3E", "DV-C4-0xC5", "DV-C4-0xC6"],
        Instead = "Leave the region on every path that leaves the routine, and only there.",
        Wrong = """
            KeEnterCriticalRegion();
            if (!ExAcquireResourceExclusiveLite(&Extension->Resource, FALSE)) return STATUS_DEVICE_BUSY;
            ExReleaseResourceLite(&Extension->Resource);
            KeLeaveCriticalRegion();
            """,
        Right = """
            KeEnterCriticalRegion();
            isOurs = ExAcquireResourceExclusiveLite(&Extension->Resource, FALSE);
            if (isOurs) ExReleaseResourceLite(&Extension->Resource);
            KeLeaveCriticalRegion();
            """,
    };

    private protected override short NestingOf(uint disabled) => (short)disabled;
}
