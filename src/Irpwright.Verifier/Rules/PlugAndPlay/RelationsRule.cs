namespace Irpwright.Verification.Rules;

/// <summary>Watches what drivers answer to IRP_MN_QUERY_DEVICE_RELATIONS.</summary>
abstract class RelationsRule : Rule, IWatch<IrpCompleting>, IWatch<IrpForwarded>
{
    Situation IWatch<IrpForwarded>.When => Situation.Management;

    Situation IWatch<IrpCompleting>.When => Situation.Management;

    public void On(in IrpCompleting e)
    {
        if (Tracker.IsCompletedByDriver) Look(e.Status, e.Information, completed: true);
    }

    public void On(in IrpForwarded e) => Look(e.Irp.IoStatus.Status, e.Irp.IoStatus.Information, completed: false);

    void Look(NTSTATUS status, ulong information, bool completed)
    {
        if (Tracker.Owner is not { } owner || !owner.Is(IRP_MJ_PNP, IRP_MN_QUERY_DEVICE_RELATIONS) || status < 0) return;
        // What came from a driver above, or below, is not the driver's.
        if (owner.LowerStatus is not null || (information != 0 && information == owner.EntryInformation)) return;
        Answered(owner, new PDEVICE_RELATIONS(information), completed);
    }

    /// <summary>A driver completes a query with success, or sends it down so.</summary>
    /// <param name="relations">Null for none.</param>
    protected abstract void Answered(Visit visit, PDEVICE_RELATIONS relations, bool completed);

    protected static PDEVICE_OBJECT At(PDEVICE_RELATIONS relations, uint index) =>
        GuestMemory.Ref<PDEVICE_OBJECT>(relations.Address + 8 + 8 * (ulong)index);
}
