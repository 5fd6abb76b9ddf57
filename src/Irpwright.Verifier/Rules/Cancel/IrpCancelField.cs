namespace Irpwright.Verification.Rules;

/// <summary>Whoever sets a cancel routine looks at Irp->Cancel afterwards: IoCancelIrp may have come before (CANCEL-05).</summary>
sealed class IrpCancelField : Rule, IWatch<DispatchReturned>, IWatch<StartIoReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IrpCancelField), RuleFamily.Cancel, Error,
        Pages.Wdm(nameof(IrpCancelField)), null,
        "A driver keeps an IRP with a cancel routine that it set after the IRP had been cancelled: the cancellation is lost.",
        static () => new IrpCancelField())
    {
        Instead = "Set the routine, then look at Irp->Cancel; if it is set and IoSetCancelRoutine(Irp, NULL) gives the routine back, complete the IRP with STATUS_CANCELLED. Or use a cancel-safe queue.",
        Wrong = """
            IoMarkIrpPending(Irp);
            IoSetCancelRoutine(Irp, Cancel);
            InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
            return STATUS_PENDING;
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoSetCancelRoutine(Irp, Cancel);
            if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
                Irp->IoStatus.Status = STATUS_CANCELLED;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            } else {
                InsertTailList(&extension->Queue, &Irp->Tail.Overlay.ListEntry);
            }
            return STATUS_PENDING;
            """,
    };

    Situation IWatch<DispatchReturned>.When => Situation.Unfinished;

    public void On(in DispatchReturned e)
    {
        if (Tracker.Known is { } irp && irp.Owner == Tracker.Visit) Check(irp, Tracker.Visit);
    }

    public void On(in StartIoReturned e)
    {
        if (Tracker.At(e.Irp.Address) is { Owner: { Passed: false } owner } irp && owner.Device == e.DeviceObject) Check(irp, owner);
    }

    // Whether the driver looked cannot be seen. What it overlooked can.
    void Check(IrpRecord irp, Visit visit)
    {
        PDRIVER_CANCEL routine = irp.Irp.CancelRoutine;
        if (!irp.CancelledUnseen || routine.IsNull || routine == visit.InheritedCancelRoutine) return;
        Report(visit.Place, irp.Name,
            $"{visit} set a cancel routine in {irp}, which had been cancelled before, and did not look at Irp->Cancel: nobody will call the "
                + "routine any more.");
    }
}
