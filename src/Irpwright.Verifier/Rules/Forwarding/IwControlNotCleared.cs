namespace Irpwright.Verification.Rules;

/// <summary>IoCopyCurrentIrpStackLocationToNext clears the next location's Control; a copy by hand must too (STK-07).</summary>
sealed class IwControlNotCleared : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwControlNotCleared), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x206),
        "An IRP is sent with the pending mark set in the location that the lower driver gets.",
        static () => new IwControlNotCleared())
    {
        Covers = ["DV-C9-0x206"],
        Instead = "Use IoCopyCurrentIrpStackLocationToNext, which clears the Control byte of the next location.",
        Wrong = """
            IoMarkIrpPending(Irp);
            RtlCopyMemory(IoGetNextIrpStackLocation(Irp), IoGetCurrentIrpStackLocation(Irp), sizeof(IO_STACK_LOCATION));
            IoCallDriver(lower, Irp);
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Pending;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Skipped: false }) return;
        if ((e.Irp.Tail.Overlay.CurrentStackLocation.Control & SL_CONTROL.SL_PENDING_RETURNED) == 0) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with SL_PENDING_RETURNED in the lower driver's location. Use "
                + "IoCopyCurrentIrpStackLocationToNext instead of copying the location.");
    }
}
