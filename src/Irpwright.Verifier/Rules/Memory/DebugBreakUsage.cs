namespace Irpwright.Verification.Rules;

/// <summary>Without a debugger a breakpoint is a crash.</summary>
sealed class DebugBreakUsage : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(DebugBreakUsage), RuleFamily.Memory, Advice,
        Pages.Wdm(nameof(DebugBreakUsage)), null,
        "A driver calls DbgBreakPoint or DbgBreakPointWithStatus.",
        static () => new DebugBreakUsage())
    {
        Instead = "Leave breakpoints out of the driver that is shipped.",
        Wrong = """
            if (!NT_SUCCESS(status)) DbgBreakPoint();
            """,
        Right = """
            if (!NT_SUCCESS(status)) DbgPrint("failed: 0x%x", status);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.DbgBreakPoint, KernelExports.DbgBreakPointWithStatus];

    public void Called(in DdiCalled e) =>
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName}.");
}
