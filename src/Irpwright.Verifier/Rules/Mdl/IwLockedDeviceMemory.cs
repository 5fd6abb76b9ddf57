namespace Irpwright.Verification.Rules;

/// <summary>A device's own memory has no page frames that could be locked.</summary>
sealed class IwLockedDeviceMemory : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwLockedDeviceMemory), RuleFamily.Mdl, Error,
        Pages.Detected, Codes.Detected(0x6F),
        "A driver calls MmProbeAndLockPages for a mapping of a device's registers or memory.",
        static () => new IwLockedDeviceMemory())
    {
        Covers = ["DV-C4-0x6F"],
        Instead = "Use the address that MmMapIoSpace returned; it needs no lock.",
        Wrong = """
            registers = MmMapIoSpace(physical, length, MmNonCached);
            mdl = IoAllocateMdl(registers, length, FALSE, FALSE, NULL);
            MmProbeAndLockPages(mdl, KernelMode, IoModifyAccess);
            """,
        Right = """
            registers = MmMapIoSpace(physical, length, MmNonCached);
            WRITE_REGISTER_ULONG(registers, 1);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.MmProbeAndLockPages, KernelExports.MmProbeAndLockProcessPages];

    public void Called(in DdiCalled e)
    {
        PMDL mdl = new(e.Arguments[0]);
        ulong buffer = mdl.StartVa.Address + mdl.ByteOffset;
        if (!Machine.IoSpace.TryTranslate(buffer, 1, PageAccess.None, out ulong physical)) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {e.Export.SourceName} for {Format.Address(buffer)}, where physical address 0x{physical:x} of a device is mapped.");
    }
}
