using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What may be said about an IRP without changing what it does: its priority, and what it belongs to.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-irp-priority-hints"/>
public sealed class IrpHints
{
    // IRP.Flags: the hint plus one; 0 means that there is none.
    const int PriorityShift = 17;
    const IRP_FLAGS PriorityMask = (IRP_FLAGS)(7U << PriorityShift);

    readonly Lock gate = new();
    readonly Dictionary<PIRP, Guid> activities = [];

    internal IrpHints(Machine machine)
    {
    }

    /// <summary>An IRP's priority; IoPriorityNormal if none was set. Any IRQL.</summary>
    [KernelExport]
    public IO_PRIORITY_HINT IoGetIoPriorityHint(PIRP Irp)
    {
        uint stored = (uint)(Irp.Flags & PriorityMask) >> PriorityShift;
        return stored == 0 ? IO_PRIORITY_HINT.IoPriorityNormal : (IO_PRIORITY_HINT)(stored - 1);
    }

    /// <summary>Sets an IRP's priority. Any IRQL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER for what is no priority.</returns>
    [KernelExport]
    public NTSTATUS IoSetIoPriorityHint(PIRP Irp, IO_PRIORITY_HINT PriorityHint)
    {
        if (PriorityHint is < 0 or >= IO_PRIORITY_HINT.MaxIoPriorityTypes) return NTSTATUS.STATUS_INVALID_PARAMETER;
        Irp.Flags = (Irp.Flags & ~PriorityMask) | (IRP_FLAGS)(((uint)PriorityHint + 1) << PriorityShift);
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Says which activity an IRP belongs to. Any IRQL.</summary>
    /// <param name="Guid">NULL asks for that of the thread, which is never traced here.</param>
    /// <returns>STATUS_NOT_SUPPORTED without a <paramref name="Guid"/>.</returns>
    [KernelExport]
    public NTSTATUS IoSetActivityIdIrp(PIRP Irp, Guid? Guid)
    {
        if (Guid is not { } activity) return NTSTATUS.STATUS_NOT_SUPPORTED;
        lock (gate) activities[Irp] = activity;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>The activity that an IRP belongs to. Any IRQL.</summary>
    /// <returns>STATUS_NOT_FOUND when nobody said.</returns>
    [KernelExport]
    public NTSTATUS IoGetActivityIdIrp(PIRP Irp, ref Guid Guid)
    {
        lock (gate)
        {
            if (!activities.TryGetValue(Irp, out Guid activity)) return NTSTATUS.STATUS_NOT_FOUND;
            Guid = activity;
            return NTSTATUS.STATUS_SUCCESS;
        }
    }

    /// <summary>The packet is released, or becomes another one.</summary>
    internal void Forget(PIRP irp)
    {
        // Nobody can have given this packet an activity meanwhile; the count of others does not matter.
        if (activities.Count == 0) return;
        lock (gate) activities.Remove(irp);
    }
}
