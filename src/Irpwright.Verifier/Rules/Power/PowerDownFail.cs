namespace Irpwright.Verification.Rules;

/// <summary>Power goes whether a driver likes it or not.</summary>
sealed class PowerDownFail() : PowerFailRule(up: false)
{
    public static RuleInfo Definition { get; } = new(nameof(PowerDownFail), RuleFamily.Power, Error,
        Pages.Wdm(nameof(PowerDownFail)), null,
        "A function or filter driver fails a set-power request that lowers the power of the system or of its device.",
        static () => new PowerDownFail())
    {
        Instead = "Send the request down, whatever happened; note that the device does not work, and call IoInvalidateDeviceState.",
        Wrong = """
            case IRP_MN_SET_POWER:
                Irp->IoStatus.Status = STATUS_DEVICE_BUSY;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_DEVICE_BUSY;
            """,
        Right = """
            case IRP_MN_SET_POWER:
                IoSkipCurrentIrpStackLocation(Irp);
                return PoCallDriver(lower, Irp);
            """,
    };
}
