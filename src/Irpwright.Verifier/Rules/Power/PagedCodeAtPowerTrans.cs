namespace Irpwright.Verification.Rules;

/// <summary>On its way to another power state a system may not be able to page in. Devices with DO_POWER_PAGABLE get their requests before that.</summary>
sealed class PagedCodeAtPowerTrans : Rule, IWatch<IrpForwarded>, IWatch<DdiCalled>
{
    public static RuleInfo Definition { get; } = new(nameof(PagedCodeAtPowerTrans), RuleFamily.Power, Warning,
        Pages.Wdm(nameof(PagedCodeAtPowerTrans)), null,
        "Pageable code runs for IRP_MN_SET_POWER, of the system or of a device, that came to a device without DO_POWER_PAGABLE.",
        static () => new PagedCodeAtPowerTrans())
    {
        Instead = "Leave what handles IRP_MN_SET_POWER in a section that is not pageable, without PAGED_CODE.",
        Wrong = """
            #pragma alloc_text(PAGE, DispatchPower)
            """,
        Right = """
            NTSTATUS DispatchPower(PDEVICE_OBJECT DeviceObject, PIRP Irp)    /* in .text */
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpForwarded e) => Check(Tracker.Visit, e.Routine.Address, Tracker.Visit.Place);

    public void On(in DdiCalled e)
    {
        if (Tracker.Thread.Frame?.Visit is { Irp.MajorFunction: IRP_MJ_POWER } visit) Check(visit, e.Caller, Tracker.Caller);
    }

    void Check(Visit visit, ulong code, CodePlace place)
    {
        if (!visit.Is(IRP_MJ_POWER, IRP_MN_SET_POWER) || visit.Device.Flags.HasFlag(DO_FLAGS.DO_POWER_PAGABLE) || !PagedCode.IsPageable(code)) return;
        Report(place, visit.Irp, $"{place} runs for {visit.Irp}, which takes the {(visit.IsSetPower(POWER_STATE_TYPE.SystemPowerState) ? "system" : "device")} to another power state, but is pageable.");
    }
}
