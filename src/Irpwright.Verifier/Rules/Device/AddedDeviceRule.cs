namespace Irpwright.Verification.Rules;

/// <summary>Looks at the device that an AddDevice routine has made, when it returns with success.</summary>
abstract class AddedDeviceRule : Rule, IWatch<AddDeviceReturned>
{
    public void On(in AddDeviceReturned e)
    {
        if (e.Status < 0 || Tracker.Frame.Created is not { IsNull: false } device) return;
        if (Fault(device, device.DeviceObjectExtension.AttachedTo) is { } fault) Report(Tracker.Frame.Place, default, $"{Tracker.Frame} {fault}.");
    }

    /// <summary>What is wrong with the device, to be said of AddDevice; null for nothing.</summary>
    /// <param name="lower">What it is attached to; null for nothing.</param>
    protected abstract string? Fault(PDEVICE_OBJECT device, PDEVICE_OBJECT lower);
}
