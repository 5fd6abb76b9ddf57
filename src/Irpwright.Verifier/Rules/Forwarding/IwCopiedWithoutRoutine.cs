namespace Irpwright.Verification.Rules;

/// <summary>Skipping is cheaper than copying (STK-08).</summary>
sealed class IwCopiedWithoutRoutine : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCopiedWithoutRoutine), RuleFamily.Forwarding, Advice,
        Pages.IoVerification, Codes.Io(0x21C),
        "A driver copies its stack location to the next one and registers no completion routine.",
        static () => new IwCopiedWithoutRoutine())
    {
        Covers = ["DV-C9-0x21C"],
        Instead = "Use IoSkipCurrentIrpStackLocation where no completion routine is needed.",
        Wrong = """
            IoCopyCurrentIrpStackLocationToNext(Irp);
            return IoCallDriver(lower, Irp);
            """,
        Right = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);
            """,
    };

    public Situation When => Situation.Unregistered;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Skipped: false, Marked: false } owner) return;
        PIO_STACK_LOCATION next = e.Irp.Tail.Overlay.CurrentStackLocation;
        PIO_STACK_LOCATION own = Tracker.Irp.LocationAt(owner.Location);
        if ((next.Control & IrpRecord.Invoke) != 0 || next.MajorFunction != own.MajorFunction || next.MinorFunction != own.MinorFunction) return;
        if (next.Flags != own.Flags || next.FileObject != own.FileObject || !HasSameParameters(next, own)) return;
        Report(Tracker.Caller, owner.Irp, $"{owner} copied its location of {owner.Irp} to the next one without registering a routine. Skip it.");
    }

    static bool HasSameParameters(PIO_STACK_LOCATION one, PIO_STACK_LOCATION other)
    {
        IO_STACK_LOCATION.OthersParameters a = one.Parameters.Others, b = other.Parameters.Others;
        return a.Argument1 == b.Argument1 && a.Argument2 == b.Argument2 && a.Argument3 == b.Argument3 && a.Argument4 == b.Argument4;
    }
}
