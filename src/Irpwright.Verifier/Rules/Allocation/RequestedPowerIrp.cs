namespace Irpwright.Verification.Rules;

/// <summary>The IRP may be completed and freed before PoRequestPowerIrp returns.</summary>
sealed class RequestedPowerIrp : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(RequestedPowerIrp), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(RequestedPowerIrp)), Codes.Detected(0x0004100B),
        "PoRequestPowerIrp is asked for the address of the IRP that it sends, other than IRP_MN_WAIT_WAKE.",
        static () => new RequestedPowerIrp())
    {
        Instead = "Pass NULL for Irp; only of IRP_MN_WAIT_WAKE the address is of use, to cancel it.",
        Wrong = """
            PoRequestPowerIrp(DeviceObject, IRP_MN_SET_POWER, state, Done, NULL, &irp);
            """,
        Right = """
            PoRequestPowerIrp(DeviceObject, IRP_MN_SET_POWER, state, Done, NULL, NULL);
            """,
    };

    const int MinorFunction = 1, Irp = 5;

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.PoRequestPowerIrp];

    public void Called(in DdiCalled e)
    {
        if (e.Arguments[Irp] == 0 || (byte)e.Arguments[MinorFunction] == IRP_MN_WAIT_WAKE) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} asked PoRequestPowerIrp for the address of the IRP, which may be freed before the routine returns.");
    }
}
