namespace Irpwright.Verification.Rules;

/// <summary>WMI sends requests to providers until they say that they are none any more.</summary>
sealed class IwWmiLeftRegistered : Rule, IWatchReturns, IWatch<DeviceDeleted>, IWatch<DriverUnloaded>
{
    const uint WMIREG_ACTION_REGISTER = 1;
    const uint WMIREG_ACTION_DEREGISTER = 2;

    public static RuleInfo Definition { get; } = new(nameof(IwWmiLeftRegistered), RuleFamily.Object, Error,
        Pages.Detected, Codes.Detected(0xDA),
        "A driver deletes a device, or unloads, while that device is registered with WMI.",
        static () => new IwWmiLeftRegistered())
    {
        Covers = ["DV-C4-0xDA", "DV-C4-0xDB"],
        Instead = "Call IoWMIRegistrationControl with WMIREG_ACTION_DEREGISTER when the device is removed, before it is deleted.",
        Wrong = """
            IoWMIRegistrationControl(Device, WMIREG_ACTION_REGISTER);
            IoDeleteDevice(Device);
            """,
        Right = """
            IoWMIRegistrationControl(Device, WMIREG_ACTION_REGISTER);
            IoWMIRegistrationControl(Device, WMIREG_ACTION_DEREGISTER);
            IoDeleteDevice(Device);
            """,
    };

    readonly Dictionary<ulong, CodePlace> registered = [];

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoWMIRegistrationControl];

    public void Returned(in DdiReturned e)
    {
        if ((int)e.Result < 0) return;
        if ((uint)e.Arguments[1] == WMIREG_ACTION_REGISTER) registered[e.Arguments[0]] = Tracker.Caller;
        else if ((uint)e.Arguments[1] == WMIREG_ACTION_DEREGISTER) registered.Remove(e.Arguments[0]);
    }

    public void On(in DeviceDeleted e)
    {
        if (!registered.Remove(e.DeviceObject.Address, out CodePlace by)) return;
        Report(by, default, $"{Tracker.Caller} deleted the device at {Format.Address(e.DeviceObject.Address)}, but {by} had registered it with WMI, and nobody deregistered it.");
    }

    public void On(in DriverUnloaded e)
    {
        foreach ((ulong device, CodePlace by) in registered)
        {
            if (!by.IsIn(e.DriverObject)) continue;
            registered.Remove(device);
            Report(by, default, $"{e.Name} was unloaded, but the device at {Format.Address(device)} that {by} registered with WMI was never deregistered.");
        }
    }
}
