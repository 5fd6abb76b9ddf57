namespace Irpwright.Verification.Rules;

/// <summary>A driver uses its own location and the next one (STK-02, STK-14).</summary>
sealed class IwLeftStackLocations : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwLeftStackLocations), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x212),
        "A driver sends an IRP on with a location that is not its own or the next one, such as after two IoSkipCurrentIrpStackLocation.",
        static () => new IwLeftStackLocations())
    {
        Covers = ["DV-C9-0x212", "DV-EIO-SkipUnwind"],
        Instead = "Skip once, or copy, before each IoCallDriver; never both.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarded e)
    {
        IrpRecord irp = Tracker.Irp;
        sbyte entered = e.Irp.CurrentLocation;
        if (e.Irp.Tail.Overlay.CurrentStackLocation != irp.LocationAt(entered))
            Report(Tracker.Caller, irp.Name,
                $"{Tracker.Caller} sent {irp} with CurrentLocation {entered}, but CurrentStackLocation is that of another location.");
        else if (entered > irp.StackCount)
            Report(Tracker.Caller, irp.Name,
                $"{Tracker.Caller} sent {irp} with stack location {entered}, but it has {irp.StackCount}: the lower driver works "
                    + "behind the packet.");
        else if (Tracker.Owner is { } owner && entered > owner.Location)
            Report(Tracker.Caller, irp.Name,
                $"{Tracker.Caller} sent {irp} with stack location {entered}, which belongs to a driver above; its own is "
                    + $"{owner.Location}. It skipped more than once.");
    }
}
