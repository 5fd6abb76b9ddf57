namespace Irpwright.Verification.Rules;

/// <summary>A wait for an event that is signalled already ends before the request does (BUILD-15).</summary>
sealed class IwEventSetBeforeSending : Rule, IWatch<IrpForwarded>, IWatch<DispatchReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwEventSetBeforeSending), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x307),
        "A threaded IRP is sent with an event that is signalled already, and becomes pending.",
        static () => new IwEventSetBeforeSending())
    {
        Covers = ["DV-C9-0x307"],
        Instead = "Initialise or clear the event each time before an IRP is built with it.",
        Wrong = """
            KeInitializeEvent(&event, NotificationEvent, TRUE);
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            """,
        Right = """
            KeInitializeEvent(&event, NotificationEvent, FALSE);
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            """,
    };

    readonly Dictionary<int, CodePlace> suspects = [];

    Situation IWatch<IrpForwarded>.When => Situation.Originator | Situation.Built;

    Situation IWatch<DispatchReturned>.When => Situation.Noted;

    public void On(in IrpForwarded e)
    {
        IrpRecord irp = Tracker.Irp;
        if (irp.Forwards != 1 || irp.Origin != IrpOrigin.Threaded) return;
        PDISPATCHER_HEADER header = new(e.Irp.UserEvent.Address);
        if (!GuestMemory.IsAccessible(header.Address, DISPATCHER_HEADER.SizeOf, PageAccess.Read) || header.SignalState == 0) return;
        suspects[irp.Name.Use] = Tracker.Caller;
        HasNotes = true;
    }

    public void On(in DispatchReturned e)
    {
        if (!suspects.Remove(Tracker.Visit.Irp.Use, out CodePlace place)) return;
        HasNotes = suspects.Count > 0;
        if (e.Status != NTSTATUS.STATUS_PENDING) return;
        Report(place, Tracker.Visit.Irp,
            $"{place} sent {Tracker.Visit.Irp} with an event that was signalled already: a wait for it ends at once.");
    }
}
