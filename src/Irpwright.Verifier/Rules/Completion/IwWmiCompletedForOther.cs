namespace Irpwright.Verification.Rules;

/// <summary>Only the device that a WMI request names completes it.</summary>
sealed class IwWmiCompletedForOther : Rule, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwWmiCompletedForOther), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x220),
        "A driver completes a WMI request that is for another device, although there is a driver below.",
        static () => new IwWmiCompletedForOther())
    {
        Covers = ["DV-C9-0x220"],
        Instead = "Send the request to the next lower driver.",
        Wrong = """
            Irp->IoStatus.Status = STATUS_WMI_GUID_NOT_FOUND;    /* ProviderId is not DeviceObject */
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (Tracker.Owner is not { Irp.MajorFunction: IRP_MJ_SYSTEM_CONTROL, Forwarded: false } owner || !Tracker.IsCompletedByDriver) return;
        if (owner.MinorFunction > IRP_MN_REGINFO_EX || owner.Parameters.WMI.ProviderId == owner.Device.Address) return;
        if (owner.Device.DeviceObjectExtension.AttachedTo.IsNull) return;
        Report(Tracker.Caller, owner.Irp, $"{Tracker.Caller} completed {owner.Irp}, which is for another device than its own. Send it down.");
    }
}
