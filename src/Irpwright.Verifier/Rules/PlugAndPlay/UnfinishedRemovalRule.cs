namespace Irpwright.Verification.Rules;

/// <summary>Looks at what a function or filter driver has left when it has handled IRP_MN_REMOVE_DEVICE (PNP-04).</summary>
abstract class UnfinishedRemovalRule : Rule, IWatch<DispatchReturned>, IWatch<DeviceDeleted>, IWatch<DeviceCreated>
{
    // The object itself may be gone, and its memory another one's.
    readonly HashSet<ulong> deleted = [];

    Situation IWatch<DispatchReturned>.When => Situation.Management;

    public void On(in DeviceDeleted e) => deleted.Add(e.DeviceObject.Address);

    public void On(in DeviceCreated e) => deleted.Remove(e.DeviceObject.Address);

    public void On(in DispatchReturned e)
    {
        Visit visit = Tracker.Visit;
        if (!visit.Is(IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE) || visit.Below.IsNull || !visit.Forwarded || e.Status < 0 || e.Status == NTSTATUS.STATUS_PENDING) return;
        if (deleted.Contains(visit.Device.Address)) return;
        bool isAttached = !visit.Device.DeviceObjectExtension.AttachedTo.IsNull;
        if (isAttached && BusFilters.Contain(Machine, visit.Device, out _)) return;
        if (Left(isAttached) is { } left) Report(visit.Place, visit.Irp, $"{visit} handled {visit.Irp}, IRP_MN_REMOVE_DEVICE, but {left}.");
    }

    /// <summary>What it has not done, of which this is the rule.</summary>
    protected abstract string? Left(bool isAttached);
}
