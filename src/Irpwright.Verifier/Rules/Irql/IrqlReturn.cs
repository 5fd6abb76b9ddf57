namespace Irpwright.Verification.Rules;

/// <summary>What the kernel calls gives the IRQL back as it got it (IRQL-04, CALL-11).</summary>
sealed class IrqlReturn : Rule,
    IWatch<DispatchReturned>, IWatch<CompletionRoutineReturned>, IWatch<CancelRoutineReturned>,
    IWatch<DpcReturned>, IWatch<WorkItemReturned>, IWatch<FastIoReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IrqlReturn), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlReturn)), Codes.Io(0x5),
        "A dispatch, fast I/O, completion or DPC routine returns at another IRQL than it was called at, or a cancel routine at another than "
            + "Irp->CancelIrql.",
        static () => new IrqlReturn())
    {
        Covers = ["DV-C9-0x05", "DV-C9-0x11", "DV-C9-0x12", "DV-C4-0xFA", "CA-28144"],
        Instead = "Lower the IRQL on every path that leaves the routine. A cancel routine passes Irp->CancelIrql to IoReleaseCancelSpinLock.",
        Wrong = """
            KeRaiseIrql(DISPATCH_LEVEL, &irql);
            status = Start(Extension, Irp);
            if (!NT_SUCCESS(status)) return status;
            KeLowerIrql(irql);
            return status;
            """,
        Right = """
            KeRaiseIrql(DISPATCH_LEVEL, &irql);
            status = Start(Extension, Irp);
            KeLowerIrql(irql);
            return status;
            """,
    };

    Situation IWatch<DispatchReturned>.When => Situation.Unbalanced;

    Situation IWatch<CompletionRoutineReturned>.When => Situation.Unbalanced;

    public void On(in DispatchReturned e) => Check();

    public void On(in CompletionRoutineReturned e) => Check();

    public void On(in CancelRoutineReturned e) => Check();

    public void On(in DpcReturned e) => Check();

    public void On(in WorkItemReturned e) => Check();

    public void On(in FastIoReturned e) => Check();

    void Check()
    {
        RoutineFrame frame = Tracker.Frame;
        byte irql = Tracker.Thread.Thread.Irql;
        if (irql == frame.Irql || frame.GotOtherIrql) return;
        string expected = frame.Kind == RoutineKind.Cancel ? $"but Irp->CancelIrql was {frame.Irql}" : $"but was called at {frame.Irql}";
        Report(frame.Place, frame.Irp, $"{frame} returned at IRQL {irql}, {expected}.");
    }
}
