namespace Irpwright.Verification.Rules;

/// <summary>A provider completes what it was asked.</summary>
sealed class WmiComplete() : WmiRule(forOwnDevice: true)
{
    public static RuleInfo Definition { get; } = new(nameof(WmiComplete), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(WmiComplete)), null,
        "A dispatch routine returns from a WMI request for its own device without completing it.",
        static () => new WmiComplete())
    {
        Instead = "Complete the IRP when it is for the driver's device: WmiSystemControl says IrpNotCompleted.",
        Wrong = """
            status = WmiSystemControl(&extension->WmiLib, DeviceObject, Irp, &disposition);
            return status;
            """,
        Right = """
            status = WmiSystemControl(&extension->WmiLib, DeviceObject, Irp, &disposition);
            if (disposition == IrpNotCompleted) IoCompleteRequest(Irp, IO_NO_INCREMENT);
            return status;
            """,
    };
}
