namespace Irpwright.Verification.Rules;

/// <summary>Address space for mappings can be short; that is a reason to fail a request, not to stop the system.</summary>
sealed class IwMappedOrBugCheck : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwMappedOrBugCheck), RuleFamily.Mdl, Warning,
        Pages.Detected, Codes.Detected(0x82),
        "A driver has locked pages mapped so that the system stops if that fails: by MmMapLockedPages, or with BugCheckOnFailure TRUE.",
        static () => new IwMappedOrBugCheck())
    {
        Covers = ["DV-C4-0x81", "DV-C4-0x82"],
        Instead = "Call MmGetSystemAddressForMdlSafe, or MmMapLockedPagesSpecifyCache with BugCheckOnFailure FALSE, and fail the request if it returns NULL.",
        Wrong = "address = MmMapLockedPages(mdl, KernelMode);",
        Right = """
            address = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority | MdlMappingNoExecute);
            if (address == NULL) return STATUS_INSUFFICIENT_RESOURCES;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.MmMapLockedPages, KernelExports.MmMapLockedPagesSpecifyCache];

    public void Called(in DdiCalled e)
    {
        // A mapping for user mode raises an exception instead.
        if ((MODE)(byte)e.Arguments[1] != MODE.KernelMode) return;
        bool isObsolete = e.Export == KernelExports.MmMapLockedPages;
        if (!isObsolete && (uint)e.Arguments[4] == 0) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName}{(isObsolete ? "" : " with BugCheckOnFailure TRUE")}: "
                + "if there is no address space for the mapping, the system stops.", (ulong)e.Export.Index);
    }
}
