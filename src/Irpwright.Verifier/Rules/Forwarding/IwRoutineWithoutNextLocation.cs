namespace Irpwright.Verification.Rules;

/// <summary>The routine is stored in the location of the driver below; the lowest driver has none below (REG-07).</summary>
sealed class IwRoutineWithoutNextLocation : Rule, IWatch<IrpForwarding>, IWatch<IrpCompleting>
{
    public static RuleInfo Definition { get; } = new(nameof(IwRoutineWithoutNextLocation), RuleFamily.Forwarding, Error,
        Pages.Kernel("using-iocompletion-routines"), null,
        "A driver at the lowest stack location registers a completion routine, which overwrites the IRP's header.",
        static () => new IwRoutineWithoutNextLocation())
    {
        Instead = "The lowest driver completes the IRP and needs no completion routine.",
        Wrong = """
            /* in the lowest driver of the stack */
            IoSetCompletionRoutine(Irp, Done, NULL, TRUE, TRUE, TRUE);
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    // Where the next location would have its CompletionRoutine, the header has OriginalFileObject.
    Situation IWatch<IrpForwarding>.When => Situation.Irregular;

    Situation IWatch<IrpCompleting>.When => Situation.Irregular;

    public void On(in IrpForwarding e) => Check(e.Irp);

    public void On(in IrpCompleting e) => Check(e.Irp);

    void Check(PIRP packet)
    {
        if (Tracker.Owner is not { Location: 1 } owner || packet.CurrentLocation != 1) return;
        ulong overwritten = packet.Tail.Overlay.OriginalFileObject.Address;
        if (overwritten == Tracker.Irp.OriginalFileObject.Address || !IsCode(overwritten)) return;
        Report(owner.Place, owner.Irp,
            $"{owner} registered a completion routine in {owner.Irp}, but has the lowest stack location: IoSetCompletionRoutine "
                + "overwrote the IRP's header.");
    }

    bool IsCode(ulong address) => Machine.Code.RoutineAt(address) is not null || Machine.Guest?.IsCode(address) == true;
}
