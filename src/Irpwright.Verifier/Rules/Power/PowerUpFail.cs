namespace Irpwright.Verification.Rules;

/// <summary>Power comes whether a driver likes it or not.</summary>
sealed class PowerUpFail() : PowerFailRule(up: true)
{
    public static RuleInfo Definition { get; } = new(nameof(PowerUpFail), RuleFamily.Power, Error,
        Pages.Wdm(nameof(PowerUpFail)), null,
        "A function or filter driver fails a set-power request that raises the power of the system or of its device.",
        static () => new PowerUpFail())
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
