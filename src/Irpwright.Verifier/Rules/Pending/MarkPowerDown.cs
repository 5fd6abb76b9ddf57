namespace Irpwright.Verification.Rules;

/// <summary>The device goes to sleep before the system does, in the background.</summary>
sealed class MarkPowerDown : UnpendedRule
{
    public static RuleInfo Definition { get; } = new(nameof(MarkPowerDown), RuleFamily.Pending, Advice,
        Pages.Wdm(nameof(MarkPowerDown)), null,
        "A function or filter driver does not pend the IRP that takes the system from S0 to a sleeping state.",
        static () => new MarkPowerDown())
    {
        Instead = "Mark the IRP pending, and send it down when the IRP of the device is over.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            return PoCallDriver(lower, Irp);
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, SystemPowerDone, DeviceObject, TRUE, TRUE, TRUE);
            PoCallDriver(lower, Irp);
            return STATUS_PENDING;
            """,
    };

    protected override string What => "the system goes to sleep";

    protected override bool Concerns(Visit visit) =>
        IsSystemPower(visit) && visit.Parameters.Power.State.SystemState > SYSTEM_POWER_STATE.PowerSystemWorking;
}
