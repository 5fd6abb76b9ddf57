namespace Irpwright.Verification.Rules;

/// <summary>Pages that stay locked can never be used for anything else, and keep their process from ending.</summary>
sealed class IwPagesLeftLocked : Rule, IWatch<DriverUnloaded>, IWatchEnd
{
    public static RuleInfo Definition { get; } = new(nameof(IwPagesLeftLocked), RuleFamily.Mdl, Error,
        Pages.BugCheck("0xcb--driver-left-locked-pages-in-process"), new(BugCheckCode.DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS),
        "A driver unloads, or the requestor's process is over, while pages that the driver locked are locked.",
        static () => new IwPagesLeftLocked())
    {
        Covers = ["BC-0xCB", "BC-0x76-0x0"],
        Instead = "Call MmUnlockPages on every path that ends the use of the buffer, and before the request is completed.",
        Wrong = """
            MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
            MmUnlockPages(mdl);
            IoFreeMdl(mdl);
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    public void On(in DriverUnloaded e) => Check(e.DriverObject, $"{e.Name} was unloaded");

    // What a driver keeps locked of its own memory is its business until it unloads.
    public void Finished()
    {
        if (Machine.BugChecks.StopReason is null && !Tracker.Irps.Any(irp => irp.IsInFlight)) Check(default, "The requestor's process ends");
    }

    void Check(PDRIVER_OBJECT driver, string occasion)
    {
        foreach ((ulong mdl, LockedBuffer buffer) in Tracker.Locked)
        {
            if (buffer.By is not { } by) continue;
            bool concerns = driver.IsNull ? buffer.Address <= Mdls.HighestUserAddress : by.IsIn(driver);
            if (!concerns || !GuestMemory.IsAccessible(mdl, MDL.SizeOf, PageAccess.Read)) continue;
            if ((new PMDL(mdl).MdlFlags & MDL_FLAGS.MDL_PAGES_LOCKED) == 0) continue;
            Report(by, default, $"{occasion}, but {buffer.Length} bytes at {Format.Address(buffer.Address)} that {by} locked are still locked, by the MDL at "
                + $"{Format.Address(mdl)}.");
        }
    }
}
