namespace Irpwright.Verification.Rules;

/// <summary>A child is powered as its bus is.</summary>
sealed class CheckDeviceObjectFlags : RelationsRule
{
    public static RuleInfo Definition { get; } = new(nameof(CheckDeviceObjectFlags), RuleFamily.Device, Advice,
        Pages.Wdm(nameof(CheckDeviceObjectFlags)), null,
        "A bus driver reports a child device whose flags DO_POWER_PAGABLE and DO_POWER_INRUSH are not those of the bus device.",
        static () => new CheckDeviceObjectFlags())
    {
        Instead = "Give the PDO the power flags of the bus device when it is created.",
        Wrong = """
            IoCreateDevice(driver, 0, NULL, FILE_DEVICE_BUS_EXTENDER, 0, FALSE, &child);
            child->Flags &= ~DO_DEVICE_INITIALIZING;
            """,
        Right = """
            IoCreateDevice(driver, 0, NULL, FILE_DEVICE_BUS_EXTENDER, 0, FALSE, &child);
            child->Flags |= bus->Flags & (DO_POWER_PAGABLE | DO_POWER_INRUSH);
            child->Flags &= ~DO_DEVICE_INITIALIZING;
            """,
    };

    protected override void Answered(Visit visit, PDEVICE_RELATIONS relations, bool completed)
    {
        if (relations.IsNull || visit.Parameters.QueryDeviceRelations.Type != DEVICE_RELATION_TYPE.BusRelations) return;
        for (uint i = 0; i < relations.Count; i++)
        {
            PDEVICE_OBJECT child = At(relations, i);
            DO_FLAGS other = (child.Flags ^ visit.Device.Flags) & (DO_FLAGS.DO_POWER_PAGABLE | DO_FLAGS.DO_POWER_INRUSH);
            if (other == 0 || child.DriverObject != visit.Driver) continue;
            Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} reported the device {Machine.Objects.NameOf(child)}, which differs from its bus in {other}.");
        }
    }
}
