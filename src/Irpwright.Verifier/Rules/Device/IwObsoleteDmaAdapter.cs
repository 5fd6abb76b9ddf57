namespace Irpwright.Verification.Rules;

/// <summary>An adapter that is not asked for by a device cannot know what the device's bus allows.</summary>
sealed class IwObsoleteDmaAdapter : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwObsoleteDmaAdapter), RuleFamily.Device, Warning,
        Pages.BugCheck("0xe6--driver-verifier-dma-violation"), new(BugCheckCode.DRIVER_VERIFIER_DMA_VIOLATION, 0x1E),
        "A driver calls HalGetAdapter.",
        static () => new IwObsoleteDmaAdapter())
    {
        Covers = ["DV-E6-0x1E"],
        Instead = "Call IoGetDmaAdapter with the device's PDO.",
        Wrong = "adapter = HalGetAdapter(&description, &mapRegisters);",
        Right = "adapter = IoGetDmaAdapter(Extension->Pdo, &description, &mapRegisters);",
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.HalGetAdapter];

    public void Called(in DdiCalled e) =>
        Report(Tracker.Caller, default, $"{Tracker.Caller} called HalGetAdapter, which knows no Plug and Play; IoGetDmaAdapter does.");
}
