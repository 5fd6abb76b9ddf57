namespace Irpwright.Verification.Rules;

/// <summary>The IRP of the system waits for the one of the device that it brings about.</summary>
sealed class MarkDevicePower : UnpendedRule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(MarkDevicePower), RuleFamily.Pending, Advice,
        Pages.Wdm(nameof(MarkDevicePower)), null,
        "A function or filter driver requests a power IRP for its device while the system goes to S0, and does not pend the IRP of the system.",
        static () => new MarkDevicePower())
    {
        Instead = "Mark the system IRP pending before PoRequestPowerIrp, and finish it when the device IRP is over.",
        Wrong = """
            PoRequestPowerIrp(DeviceObject, IRP_MN_SET_POWER, state, DevicePowerDone, Irp, NULL);
            IoSkipCurrentIrpStackLocation(Irp);
            return PoCallDriver(lower, Irp);
            """,
        Right = """
            IoMarkIrpPending(Irp);
            PoRequestPowerIrp(DeviceObject, IRP_MN_SET_POWER, state, DevicePowerDone, Irp, NULL);
            return STATUS_PENDING;
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.PoRequestPowerIrp];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is { Kind: RoutineKind.Dispatch, Visit: { } visit }) visit.RequestedPower = true;
    }

    protected override string What => "the system goes to S0";

    protected override bool Concerns(Visit visit) => IsWakeUp(visit) && visit.RequestedPower;
}
