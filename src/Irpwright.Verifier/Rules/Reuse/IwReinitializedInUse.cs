namespace Irpwright.Verification.Rules;

/// <summary>An IRP has to come back before it is made new (REUSE-04).</summary>
sealed class IwReinitializedInUse : Rule, IWatch<IrpReused>, IWatch<IrpAllocated>
{
    public static RuleInfo Definition { get; } = new(nameof(IwReinitializedInUse), RuleFamily.Reuse, Error,
        Pages.IoVerification, Codes.Io(0x310),
        "IoReuseIrp or IoInitializeIrp is called for an IRP that a driver it was sent to still has.",
        static () => new IwReinitializedInUse())
    {
        Covers = ["DV-C9-0x310"],
        Instead = "Reinitialise the IRP in its completion routine, or after that has run.",
        Wrong = """
            IoCallDriver(lower, irp);
            IoReuseIrp(irp, STATUS_SUCCESS);
            """,
        Right = """
            if (IoCallDriver(lower, irp) == STATUS_PENDING) {
                KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
            }
            IoReuseIrp(irp, STATUS_SUCCESS);
            """,
    };

    public void On(in IrpReused e)
    {
        if (Tracker.Irp.Origin is not (IrpOrigin.Request or IrpOrigin.Threaded or IrpOrigin.Associated)) Check(Tracker.Irp);
    }

    public void On(in IrpAllocated e)
    {
        if (e.Origin == IrpOrigin.Initialized && Tracker.Known is { } irp) Check(irp);
    }

    void Check(IrpRecord irp)
    {
        if (irp.Owner is { } owner) Report(Tracker.Caller, irp.Name, $"{Tracker.Caller} initialised {irp} anew, which {owner} still has.");
    }
}
