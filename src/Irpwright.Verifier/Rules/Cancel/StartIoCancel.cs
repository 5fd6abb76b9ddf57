namespace Irpwright.Verification.Rules;

/// <summary>Who says that IRPs in StartIo can be cancelled has a cancel routine in the IRP by then (STARTIO-12).</summary>
sealed class StartIoCancel : Rule, IWatchCalls, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(StartIoCancel), RuleFamily.Cancel, Warning,
        Pages.Wdm(nameof(StartIoCancel)), null,
        "A dispatch routine calls IoSetStartIoAttributes with NonCancelable FALSE, and only then sets its cancel routine.",
        static () => new StartIoCancel())
    {
        Instead = "Set the cancel routine first; or choose the attributes once, when the device is created.",
        Wrong = """
            IoSetStartIoAttributes(DeviceObject, FALSE, FALSE);
            IoSetCancelRoutine(Irp, Cancel);
            IoStartPacket(DeviceObject, Irp, NULL, Cancel);
            """,
        Right = """
            IoSetCancelRoutine(Irp, Cancel);
            IoSetStartIoAttributes(DeviceObject, FALSE, FALSE);
            IoStartPacket(DeviceObject, Irp, NULL, Cancel);
            """,
    };

    // The routines' IRPs whose driver called it without a cancel routine.
    readonly Dictionary<int, CodePlace> early = [];

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.IoSetStartIoAttributes, KernelExports.IoStartPacket];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch, Visit: { Passed: false } visit }) return;
        PIRP irp = new(visit.Irp.Address);
        if (e.Export == KernelExports.IoStartPacket)
        {
            if (e.Arguments[1] == irp.Address && (e.Arguments[3] != 0 || !irp.CancelRoutine.IsNull)) Settle(visit);
            return;
        }
        bool cancelable = (byte)e.Arguments[2] == 0;
        if (cancelable && irp.CancelRoutine.IsNull) early[visit.Irp.Use] = Tracker.Caller;
        HasNotes = early.Count > 0;
    }

    Situation IWatch<DispatchReturned>.When => Situation.Noted;

    public void On(in DispatchReturned e)
    {
        if (Tracker.Known is { } irp && irp.Owner == Tracker.Visit && !irp.Irp.CancelRoutine.IsNull) Settle(Tracker.Visit);
        early.Remove(Tracker.Visit.Irp.Use);
        HasNotes = early.Count > 0;
    }

    void Settle(Visit visit)
    {
        if (!early.Remove(visit.Irp.Use, out CodePlace place)) return;
        Report(place, visit.Irp, $"{place} called IoSetStartIoAttributes with NonCancelable FALSE before it set a cancel routine in {visit.Irp}.");
    }
}
