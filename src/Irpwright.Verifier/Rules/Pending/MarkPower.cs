namespace Irpwright.Verification.Rules;

/// <summary>The device follows the system to S0 in the background; only then is the IRP over.</summary>
sealed class MarkPower : UnpendedRule
{
    public static RuleInfo Definition { get; } = new(nameof(MarkPower), RuleFamily.Pending, Advice,
        Pages.Wdm(nameof(MarkPower)), null,
        "A function or filter driver does not pend the IRP that takes the system to S0.",
        static () => new MarkPower())
    {
        Instead = "Mark the IRP pending, send it down with a completion routine, and return STATUS_PENDING.",
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

    protected override string What => "the system goes to S0";

    protected override bool Concerns(Visit visit) => IsWakeUp(visit) && !visit.RequestedPower;
}
