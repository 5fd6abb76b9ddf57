namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager sets the event of a threaded IRP when the request is over (BUILD-15).</summary>
sealed class IoBuildDeviceIoControlSetEvent : Rule, IWatch<IrpForwarded>, IWatch<EventSet>, IWatch<IrpFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildDeviceIoControlSetEvent), RuleFamily.Completion, Error,
        Pages.Wdm(nameof(IoBuildDeviceIoControlSetEvent)), null,
        "A driver sets the event that it gave to IoBuildDeviceIoControlRequest or IoBuildSynchronousFsdRequest.",
        static () => new IoBuildDeviceIoControlSetEvent())
    {
        Instead = "Leave the event to the I/O manager, which sets it when the request is over.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoCallDriver(lower, irp);
            KeSetEvent(&event, IO_NO_INCREMENT, FALSE);
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            """,
    };

    readonly Dictionary<ulong, IrpName> events = [];

    Situation IWatch<IrpForwarded>.When => Situation.Originator | Situation.Built;

    public void On(in IrpForwarded e)
    {
        IrpRecord irp = Tracker.Irp;
        if (irp.Forwards == 1 && irp.Origin == IrpOrigin.Threaded && !e.Irp.UserEvent.IsNull) events[e.Irp.UserEvent.Address] = irp.Name;
    }

    public void On(in EventSet e)
    {
        if (events.Count == 0 || !Tracker.IsSetByDriver || !events.TryGetValue(e.Event.Address, out IrpName irp)) return;
        Report(Tracker.Caller, irp, $"{Tracker.Caller} set the event of {irp}, which the I/O manager sets when that request is over.");
    }

    public void On(in IrpFreed e)
    {
        if (events.Count > 0 && Tracker.Irp.Origin == IrpOrigin.Threaded) events.Remove(e.Irp.UserEvent.Address);
    }
}
