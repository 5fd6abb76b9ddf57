namespace Irpwright.Verification.Rules;

/// <summary>What the kernel calls gives the IRQL back as it got it (IRQL-04, CALL-11).</summary>
sealed class IrqlReturn : Rule,
    IWatch<DispatchReturned>, IWatch<CompletionRoutineReturned>, IWatch<CancelRoutineReturned>,
    IWatch<DpcReturned>, IWatch<WorkItemReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IrqlReturn), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlReturn)), Codes.Io(0x5),
        "A dispatch, completion or DPC routine returns at another IRQL than it was called at, or a cancel routine at another than "
            + "Irp->CancelIrql.",
        static () => new IrqlReturn());

    public void On(in DispatchReturned e) => Check();

    public void On(in CompletionRoutineReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    public void On(in DpcReturned e) => Check();

    public void On(in WorkItemReturned e) => Check();

    void Check()
    {
        RoutineFrame frame = Tracker.Frame;
        byte irql = Tracker.Thread.Thread.Irql;
        if (irql == frame.Irql || frame.GotOtherIrql) return;
        string expected = frame.Kind == RoutineKind.Cancel ? $"but Irp->CancelIrql was {frame.Irql}" : $"but was called at {frame.Irql}";
        Report(frame.Place, frame.Irp, $"{frame} returned at IRQL {irql}, {expected}.");
    }
}
