namespace Irpwright.Verification.Rules;

/// <summary>Requests are buffered in one way.</summary>
sealed class IwBothBufferings : Rule, IWatch<AddDeviceReturned>, IWatch<DriverLoaded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwBothBufferings), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0x245),
        "A driver makes a device with both DO_BUFFERED_IO and DO_DIRECT_IO set.",
        static () => new IwBothBufferings())
    {
        Covers = ["DV-C9-0x245"],
        Instead = "Set one of the two.",
        Wrong = """
            device->Flags |= DO_BUFFERED_IO | DO_DIRECT_IO;
            """,
        Right = """
            device->Flags |= DO_DIRECT_IO;
            """,
    };

    const DO_FLAGS Both = DO_FLAGS.DO_BUFFERED_IO | DO_FLAGS.DO_DIRECT_IO;

    public void On(in AddDeviceReturned e)
    {
        if (e.Status >= 0) Check(Tracker.Frame.Created, Tracker.Frame.Place);
    }

    public void On(in DriverLoaded e)
    {
        if (e.Status < 0) return;
        for (PDEVICE_OBJECT device = e.DriverObject.DeviceObject; !device.IsNull; device = device.NextDevice)
            Check(device, new CodePlace(Machine, e.DriverObject, e.DriverObject.DriverInit.Address, 0));
    }

    void Check(PDEVICE_OBJECT device, CodePlace place)
    {
        if (device.IsNull || (device.Flags & Both) != Both) return;
        Report(place, default, $"{place} made a device with both DO_BUFFERED_IO and DO_DIRECT_IO.");
    }
}
