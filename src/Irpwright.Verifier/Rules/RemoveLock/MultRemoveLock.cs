namespace Irpwright.Verification.Rules;

/// <summary>One remove lock for each device is enough. (A second one is not wrong.)</summary>
sealed class MultRemoveLock : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.IoAcquireRemoveLockEx];

    public static RuleInfo Definition { get; } = new(nameof(MultRemoveLock), RuleFamily.RemoveLock, Advice,
        Pages.Wdm(nameof(MultRemoveLock)), null,
        "IoAcquireRemoveLock is called for a second remove lock in the same device extension.",
        static () => new MultRemoveLock())
    {
        Instead = "Use one remove lock for everything that keeps the device from being removed.",
        Wrong = """
            IoAcquireRemoveLock(&Extension->ReadLock, Irp);
            IoAcquireRemoveLock(&Extension->PnpLock, Irp);
            """,
        Right = """
            IoAcquireRemoveLock(&Extension->RemoveLock, Irp);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        if (Tracker.RemoveLocks.At(e.Arguments[0]) is not { Device.IsNull: false } removeLock) return;
        if (Tracker.RemoveLocks.Of(removeLock.Device) is { } first && first.Address != removeLock.Address)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, $"{Tracker.Caller} acquired {removeLock}; its device has {first} as well.");
    }
}
