namespace Irpwright.Verification.Rules;

/// <summary>A release undoes an acquisition with the same tag (RMLOCK-03).</summary>
sealed class IwRemoveLockTag : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.IoReleaseRemoveLockEx, KernelExports.IoReleaseRemoveLockAndWaitEx];

    public static RuleInfo Definition { get; } = new(nameof(IwRemoveLockTag), RuleFamily.RemoveLock, Error,
        Pages.Detected, Codes.Detected(0xD5),
        "IoReleaseRemoveLock or IoReleaseRemoveLockAndWait is called with a tag with which nobody holds the lock.",
        static () => new IwRemoveLockTag())
    {
        Covers = ["DV-C4-0xD5", "DV-C4-0xD6", "DV-IOV-RemoveLockNotHeld"],
        Instead = "Release once for each successful acquisition, with the same tag; after a failed one there is nothing to release.",
        Wrong = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (NT_SUCCESS(status)) status = Start(Extension, Irp);
            IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
            """,
        Right = """
            status = IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            if (!NT_SUCCESS(status)) return Fail(Irp, status);
            status = Start(Extension, Irp);
            IoReleaseRemoveLock(&Extension->RemoveLock, Irp);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.RemoveLocks.At(e.Arguments[0]) is not { } removeLock || removeLock.IsHeldWith(e.Arguments[1])) return;
        string held = removeLock.Holds.Count == 0 ? "which nobody holds" : $"which is held {removeLock.Holds.Count} times, but not with that tag";
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName.Replace("Ex", "", StringComparison.Ordinal)} with tag {Format.Address(e.Arguments[1])} for {removeLock}, {held}.");
    }
}
