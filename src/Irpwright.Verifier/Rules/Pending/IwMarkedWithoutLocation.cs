namespace Irpwright.Verification.Rules;

/// <summary>The originator of an IRP has no location to mark, unless it allocated one for itself (IMP-03).</summary>
sealed class IwMarkedWithoutLocation : Rule, IWatch<IrpForwarded>, IWatch<CompletionRoutineReturned>, IWatch<IrpReused>, IWatch<IrpFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IwMarkedWithoutLocation), RuleFamily.Pending, Error,
        Pages.Ddi("nf-wdm-iomarkirppending"), null,
        "IoMarkIrpPending is called for an IRP in which the caller has no stack location, and writes behind the packet.",
        static () => new IwMarkedWithoutLocation())
    {
        Instead = "Do not mark in the completion routine of the driver that allocated the IRP: it has no stack location, and nobody is above it.",
        Wrong = """
            NTSTATUS OwnIrpDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                if (Irp->PendingReturned) IoMarkIrpPending(Irp);
                IoFreeIrp(Irp);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            """,
        Right = """
            NTSTATUS OwnIrpDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                IoFreeIrp(Irp);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            """,
    };

    Situation IWatch<IrpForwarded>.When => Situation.Originator;

    Situation IWatch<CompletionRoutineReturned>.When => Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Irp.Forwards == 1) Check(Tracker.Irp, Tracker.Caller);
    }

    public void On(in CompletionRoutineReturned e)
    {
        if (Tracker.Known is { } irp && Tracker.Frame.Location > irp.StackCount) Check(irp, Tracker.Frame.Place);
    }

    public void On(in IrpReused e) => Check(Tracker.Irp, Tracker.Caller);

    public void On(in IrpFreed e) => Check(Tracker.Irp, Tracker.Caller);

    void Check(IrpRecord irp, CodePlace place)
    {
        if (irp.MarkBehindEndReported || !irp.IsMarkedBehindEnd) return;
        irp.MarkBehindEndReported = true;
        Report(place, irp.Name,
            $"{place} marked {irp} pending, but has no stack location in it: IoMarkIrpPending wrote behind the packet. The completion "
                + "routine of an IRP's originator must not call it.");
    }
}
