namespace Irpwright.Verification.Rules;

/// <summary>Who is in a stack gets what the system sends to the stack.</summary>
sealed class IwNoDispatchRoutine : Rule, IWatch<AddDeviceReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwNoDispatchRoutine), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0x21F),
        "A driver adds a device, but has no dispatch routine for PnP, power or WMI requests.",
        static () => new IwNoDispatchRoutine())
    {
        Covers = ["DV-C9-0x21F"],
        Instead = "Set dispatch routines for IRP_MJ_PNP, IRP_MJ_POWER and IRP_MJ_SYSTEM_CONTROL in DriverEntry, if only to pass requests down.",
        Wrong = """
            DriverObject->MajorFunction[IRP_MJ_PNP] = DispatchPnp;
            DriverObject->DriverExtension->AddDevice = AddDevice;
            """,
        Right = """
            DriverObject->MajorFunction[IRP_MJ_PNP] = DispatchPnp;
            DriverObject->MajorFunction[IRP_MJ_POWER] = DispatchPower;
            DriverObject->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = PassDown;
            DriverObject->DriverExtension->AddDevice = AddDevice;
            """,
    };

    public void On(in AddDeviceReturned e)
    {
        if (e.Status < 0 || Tracker.Frame.Created.IsNull) return;
        foreach (byte major in (ReadOnlySpan<byte>)[IRP_MJ_PNP, IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL])
        {
            if (Machine.Drivers.Handles(e.DriverObject, major)) continue;
            Report(Tracker.Frame.Place, default, $"{Tracker.Frame} added a device, but its driver has no dispatch routine for {Format.MajorFunction(major)}.", major);
        }
    }
}
