namespace Irpwright.Verification.Rules;

/// <summary>The pool gives a block for it, which is probably not what was meant.</summary>
sealed class IwZeroBytesAllocated : Rule, IWatch<PoolAllocated>
{
    public static RuleInfo Definition { get; } = new(nameof(IwZeroBytesAllocated), RuleFamily.Pool, Warning,
        Pages.BugCheck("0xc2--bad-pool-caller"), Codes.Detected(0),
        "A driver allocates zero bytes of pool.",
        static () => new IwZeroBytesAllocated())
    {
        Covers = ["DV-C4-0x00", "BC-0xC2-0x00"],
        Instead = "Look at the length first; a request without data needs no buffer.",
        Wrong = "copy = ExAllocatePoolWithTag(NonPagedPoolNx, stack->Parameters.Write.Length, 'gaT1');",
        Right = """
            ULONG length = stack->Parameters.Write.Length;
            copy = length == 0 ? NULL : ExAllocatePoolWithTag(NonPagedPoolNx, length, 'gaT1');
            """,
    };

    public void On(in PoolAllocated e)
    {
        if (e.Size != 0 || e.Owner == 0) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} allocated zero bytes of pool with tag {Pool.TagText(e.Tag)}; whatever is written there overruns the block.");
    }
}
