namespace Irpwright.Verification.Rules;

/// <summary>The target's Type says whether it is one (CALL-11); for NULL the code is 0x204.</summary>
sealed class IwSentToNoDevice : Rule, IWatch<IrpForwarding>
{
    public static RuleInfo Definition { get; } = new(nameof(IwSentToNoDevice), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x4),
        "IoCallDriver is given NULL or something that is no device object.",
        static () => new IwSentToNoDevice())
    {
        Covers = ["DV-C9-0x04", "DV-C9-0x204"],
        Instead = "Send to the device that IoAttachDeviceToDeviceStack returned, after checking that it returned one.",
        Wrong = """
            return IoCallDriver(NULL, Irp);
            """,
        Right = """
            return IoCallDriver(extension->LowerDevice, Irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarding e)
    {
        bool accessible = GuestMemory.IsAccessible(e.DeviceObject.Address, DEVICE_OBJECT.SizeOf, PageAccess.Read);
        if (accessible && e.DeviceObject.Type == IO_TYPE_DEVICE) return;
        string what = e.DeviceObject.IsNull ? "NULL" : $"{e.DeviceObject}, which is no device object";
        Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} sent {Tracker.Irp} to {what}.");
    }
}
