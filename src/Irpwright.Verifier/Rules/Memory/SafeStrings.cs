namespace Irpwright.Verification.Rules;

/// <summary>Routines that do not know the size of the buffer write behind it.</summary>
sealed class SafeStrings : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(SafeStrings), RuleFamily.Memory, Advice,
        Pages.Wdm(nameof(SafeStrings)), null,
        "A driver calls a string routine of the C run-time library that is not told the size of its buffer.",
        static () => new SafeStrings())
    {
        Instead = "Use the routines of Ntstrsafe.h: RtlStringCbCopyA, RtlStringCbPrintfW.",
        Wrong = """
            strcpy(name, text);
            """,
        Right = """
            RtlStringCbCopyA(name, sizeof(name), text);
            """,
    };

    static readonly HashSet<string> Unsafe =
        ["strcpy", "strcat", "sprintf", "vsprintf", "wcscpy", "wcscat", "swprintf", "vswprintf", "_swprintf", "_vswprintf", "strncpy", "strncat", "wcsncpy", "wcsncat"];

    public IReadOnlyList<KernelExport> Calls { get; } = [.. KernelExports.All.Where(routine => Unsafe.Contains(routine.SourceName))];

    public void Called(in DdiCalled e) =>
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} called {e.Export.SourceName}, which does not know the size of the buffer it writes to.", (ulong)e.Export.Index);
}
