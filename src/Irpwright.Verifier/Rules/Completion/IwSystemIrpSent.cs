namespace Irpwright.Verification.Rules;

/// <summary>Some requests only the PnP manager and the power manager send.</summary>
sealed class IwSystemIrpSent : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwSystemIrpSent), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x237),
        "A driver creates and sends a PnP request that is reserved for the system, or a power request without PoRequestPowerIrp.",
        static () => new IwSystemIrpSent())
    {
        Covers = ["DV-C9-0x237"],
        Instead = "Ask the system for it: IoInvalidateDeviceRelations, IoRequestDeviceEject, PoRequestPowerIrp.",
        Wrong = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, target, NULL, 0, NULL, &event, &block);
            IoGetNextIrpStackLocation(irp)->MinorFunction = IRP_MN_REMOVE_DEVICE;
            IoCallDriver(target, irp);
            """,
        Right = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, target, NULL, 0, NULL, &event, &block);
            IoGetNextIrpStackLocation(irp)->MinorFunction = IRP_MN_QUERY_CAPABILITIES;
            IoCallDriver(target, irp);
            """,
    };

    public Situation When => Situation.Management | Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Origin is null or IrpOrigin.Request or IrpOrigin.PlugAndPlay or IrpOrigin.Power) return;
        Visit receiver = Tracker.Visit;
        bool reserved = receiver.Irp.MajorFunction switch
        {
            IRP_MJ_POWER => true,
            IRP_MJ_PNP => receiver.MinorFunction is <= IRP_MN_CANCEL_STOP_DEVICE or IRP_MN_QUERY_RESOURCES or IRP_MN_QUERY_RESOURCE_REQUIREMENTS
                or IRP_MN_QUERY_DEVICE_TEXT or IRP_MN_FILTER_RESOURCE_REQUIREMENTS or IRP_MN_EJECT or IRP_MN_SET_LOCK
                or IRP_MN_QUERY_PNP_DEVICE_STATE or IRP_MN_QUERY_BUS_INFORMATION or IRP_MN_SURPRISE_REMOVAL,
            _ => false,
        };
        if (!reserved) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with minor function 0x{receiver.MinorFunction:X2}, which is for the system to send.");
    }
}
