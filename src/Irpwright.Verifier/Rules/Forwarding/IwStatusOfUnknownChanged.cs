namespace Irpwright.Verification.Rules;

/// <summary>Who does not know a request leaves it as it is (PNP-07).</summary>
sealed class IwStatusOfUnknownChanged : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwStatusOfUnknownChanged), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x213),
        "A driver changes IoStatus of a PnP, power or WMI request with a minor function that does not exist, and sends it on.",
        static () => new IwStatusOfUnknownChanged())
    {
        Covers = ["DV-C9-0x213", "DV-C9-0x214", "DV-C9-0x23B"],
        Instead = "Send requests that the driver does not handle down untouched.",
        Wrong = """
            default:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
        Right = """
            default:
                IoSkipCurrentIrpStackLocation(Irp);
                return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { LowerStatus: null } owner || !IsUnknown(owner)) return;
        if (e.Irp.IoStatus.Status == owner.EntryStatus && e.Irp.IoStatus.Information == owner.EntryInformation) return;
        Report(Tracker.Caller, owner.Irp,
            $"{owner} changed the status of {owner.Irp} (minor function 0x{owner.MinorFunction:X2}), which it cannot know, and sent it on.");
    }

    static bool IsUnknown(Visit visit) => visit.Irp.MajorFunction switch
    {
        // Nobody but the system knows what comes behind these, so that they are let pass.
        IRP_MJ_PNP => visit.MinorFunction > IRP_MN_DEVICE_ENUMERATED,
        IRP_MJ_POWER => visit.MinorFunction > IRP_MN_QUERY_POWER,
        IRP_MJ_SYSTEM_CONTROL => visit.MinorFunction > IRP_MN_REGINFO_EX,
        _ => false,
    };
}
