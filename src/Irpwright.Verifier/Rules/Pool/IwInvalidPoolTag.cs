namespace Irpwright.Verification.Rules;

/// <summary>By its tag people find out whose memory it is.</summary>
sealed class IwInvalidPoolTag : Rule, IWatch<PoolAllocated>
{
    const uint Big = 0x20474942, BigWithoutSpace = 0x00474942; // "BIG": the system's own

    public static RuleInfo Definition { get; } = new(nameof(IwInvalidPoolTag), RuleFamily.Pool, Warning,
        Pages.BugCheck("0xc2--bad-pool-caller"), new(BugCheckCode.BAD_POOL_CALLER, 0x9B),
        "A driver allocates pool with tag 0, with the system's own tag BIG, or with one that has no letter or digit.",
        static () => new IwInvalidPoolTag())
    {
        Covers = ["BC-0xC2-0x9B", "BC-0xC2-0x9C", "BC-0xC2-0x9D"],
        Instead = "Use a tag of four letters or digits that no other driver uses.",
        Wrong = "copy = ExAllocatePoolWithTag(NonPagedPoolNx, length, 0);",
        Right = "copy = ExAllocatePoolWithTag(NonPagedPoolNx, length, 'gaT1');",
    };

    public void On(in PoolAllocated e)
    {
        if (e.Owner == 0) return;
        string? wrong = e.Tag == 0 ? "0, by which nobody can find out whose memory it is"
            : e.Tag is Big or BigWithoutSpace ? "'BIG ', which is the system's own"
            : !HasLetterOrDigit(e.Tag) ? $"{Pool.TagText(e.Tag)}, which has neither a letter nor a digit"
            : null;
        if (wrong is null) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} allocated {e.Size} bytes of pool with tag {wrong}.");
    }

    static bool HasLetterOrDigit(uint tag)
    {
        for (; tag != 0; tag >>= 8)
        {
            // The highest bit protects the tag, and belongs to none of its characters.
            if (char.IsAsciiLetterOrDigit((char)(tag & 0x7F))) return true;
        }
        return false;
    }
}
