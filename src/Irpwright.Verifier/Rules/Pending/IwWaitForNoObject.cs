namespace Irpwright.Verification.Rules;

/// <summary>Waits take pointers to dispatcher objects; handles are for ZwWaitForSingleObject.</summary>
sealed class IwWaitForNoObject : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwWaitForNoObject), RuleFamily.Pending, Error,
        Pages.Devtest("force-pending-i-o-requests"), null,
        "KeWaitForSingleObject is called with something that is no dispatcher object, such as a handle.",
        static () => new IwWaitForNoObject())
    {
        Covers = ["DV-FP-BadWaitObject"],
        Instead = "Pass the address of the event itself, or use ZwWaitForSingleObject with its handle.",
        Wrong = """
            KeWaitForSingleObject(extension->EventHandle, Executive, KernelMode, FALSE, NULL);
            """,
        Right = """
            ZwWaitForSingleObject(extension->EventHandle, FALSE, NULL);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.KeWaitForSingleObject];

    public void Called(in DdiCalled e)
    {
        PDISPATCHER_HEADER awaited = new(e.Arguments[0]);
        bool accessible = GuestMemory.IsAccessible(awaited.Address, DISPATCHER_HEADER.SizeOf, PageAccess.Read);
        // A queue is waited for with KeRemoveQueue.
        if (accessible && (KOBJECTS)((byte)awaited.Type & 0x7F) <= KOBJECTS.TimerSynchronizationObject) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called KeWaitForSingleObject with {Format.Address(awaited.Address)}, which is no dispatcher object.");
    }
}
