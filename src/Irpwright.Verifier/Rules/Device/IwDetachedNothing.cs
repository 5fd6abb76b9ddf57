namespace Irpwright.Verification.Rules;

/// <summary>What is detached once is not attached any more.</summary>
sealed class IwDetachedNothing : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwDetachedNothing), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0x202),
        "IoDetachDevice is called for a device that nothing is attached to.",
        static () => new IwDetachedNothing())
    {
        Covers = ["DV-C9-0x202"],
        Instead = "Detach once, from the device that IoAttachDeviceToDeviceStack returned.",
        Wrong = """
            IoDetachDevice(lower);
            IoDetachDevice(lower);
            """,
        Right = """
            IoDetachDevice(lower);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoDetachDevice];

    public void Called(in DdiCalled e)
    {
        PDEVICE_OBJECT target = new(e.Arguments[0]);
        if (!GuestMemory.IsAccessible(target.Address, DEVICE_OBJECT.SizeOf, PageAccess.Read) || !target.AttachedDevice.IsNull) return;
        Report(Tracker.Caller, default, $"{Tracker.Caller} called IoDetachDevice for the device at {Format.Address(target.Address)}, which nothing is attached to.");
    }
}
