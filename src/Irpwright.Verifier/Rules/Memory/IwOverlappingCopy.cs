namespace Irpwright.Verification.Rules;

/// <summary>memcpy may copy in any order.</summary>
sealed class IwOverlappingCopy : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwOverlappingCopy), RuleFamily.Memory, Error,
        Pages.Detected, Codes.Detected(0xF0),
        "memcpy is called for source and destination that overlap.",
        static () => new IwOverlappingCopy())
    {
        Covers = ["DV-C4-0xF0"],
        Instead = "Use memmove, or RtlMoveMemory.",
        Wrong = """
            memcpy(buffer + 1, buffer, length);
            """,
        Right = """
            memmove(buffer + 1, buffer, length);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.memcpy];

    public void Called(in DdiCalled e)
    {
        ulong to = e.Arguments[0], from = e.Arguments[1], length = e.Arguments[2];
        if (to == from || (to - from >= length && from - to >= length)) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} copies {length} bytes from {Format.Address(from)} to {Format.Address(to)} with memcpy, but the two overlap.");
    }
}
