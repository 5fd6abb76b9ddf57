namespace Irpwright.Verification.Rules;

/// <summary>What is for another device has to get there.</summary>
sealed class WmiForward() : WmiRule(forOwnDevice: false)
{
    public static RuleInfo Definition { get; } = new(nameof(WmiForward), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(WmiForward)), null,
        "A dispatch routine returns from a WMI request for another device without sending it on.",
        static () => new WmiForward())
    {
        Instead = "Send the IRP to the next lower driver: WmiSystemControl says IrpForward or IrpNotWmi.",
        Wrong = """
            status = WmiSystemControl(&extension->WmiLib, DeviceObject, Irp, &disposition);
            return status;
            """,
        Right = """
            status = WmiSystemControl(&extension->WmiLib, DeviceObject, Irp, &disposition);
            if (disposition == IrpForward) {
                IoSkipCurrentIrpStackLocation(Irp);
                status = IoCallDriver(lower, Irp);
            }
            return status;
            """,
    };
}
