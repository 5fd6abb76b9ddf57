namespace Irpwright.Verification.Rules;

/// <summary>The buffers of a request are read, written or locked when it is built (BUILD-09).</summary>
sealed class IwBuiltWithBadBuffer : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwBuiltWithBadBuffer), RuleFamily.Allocation, Error,
        Pages.IoVerification, Codes.Io(0x8),
        "IoBuildAsynchronousFsdRequest, IoBuildSynchronousFsdRequest or IoBuildDeviceIoControlRequest is given a buffer that is not accessible as a whole.",
        static () => new IwBuiltWithBadBuffer())
    {
        Covers = ["DV-C9-0x08", "DV-C9-0x09"],
        Instead = "Pass a buffer of the length that is said.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, freed, 64, NULL, 0, FALSE, &event, &block);
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, buffer, sizeof(buffer), NULL, 0, FALSE, &event, &block);
            """,
    };

    const uint Neither = 3;

    public IReadOnlyList<KernelExport> Calls { get; } =
        [KernelExports.IoBuildAsynchronousFsdRequest, KernelExports.IoBuildSynchronousFsdRequest, KernelExports.IoBuildDeviceIoControlRequest];

    public void Called(in DdiCalled e)
    {
        if (e.Export != KernelExports.IoBuildDeviceIoControlRequest)
        {
            byte major = (byte)e.Arguments[0];
            if (major is IRP_MJ_READ or IRP_MJ_WRITE)
                Check(e, e.Arguments[2], (uint)e.Arguments[3], major == IRP_MJ_READ ? PageAccess.ReadWrite : PageAccess.Read);
            return;
        }
        if (((uint)e.Arguments[0] & 3) == Neither) return;
        Check(e, e.Arguments[2], (uint)e.Arguments[3], PageAccess.Read);
        Check(e, e.Arguments[4], (uint)e.Arguments[5], PageAccess.Read);
    }

    void Check(in DdiCalled e, ulong buffer, uint length, PageAccess access)
    {
        // User memory is not always there, and has its own rules.
        if (buffer <= Mdls.HighestUserAddress || length == 0 || GuestMemory.IsAccessible(buffer, length, access)) return;
        Report(Tracker.Caller, default,
            $"{Tracker.Caller} called {e.Export.SourceName} with a buffer of {length} bytes at {Format.Address(buffer)}, which is not all there.");
    }
}
