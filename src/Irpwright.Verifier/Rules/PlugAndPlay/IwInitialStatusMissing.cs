namespace Irpwright.Verification.Rules;

/// <summary>The status says whether anybody has handled the request.</summary>
sealed class IwInitialStatusMissing : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwInitialStatusMissing), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x20E),
        "A driver sends a PnP, power or WMI request of its own whose status is not STATUS_NOT_SUPPORTED.",
        static () => new IwInitialStatusMissing())
    {
        Covers = ["DV-C9-0x20E", "DV-C9-0x20F", "DV-C9-0x210"],
        Instead = "Set IoStatus.Status to STATUS_NOT_SUPPORTED before the request is sent.",
        Wrong = """
            irp = IoAllocateIrp(target->StackSize, FALSE);
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_PNP;
            IoCallDriver(target, irp);
            """,
        Right = """
            irp = IoAllocateIrp(target->StackSize, FALSE);
            irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_PNP;
            IoCallDriver(target, irp);
            """,
    };

    public Situation When => Situation.Management | Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null || Tracker.Irp.Forwards > 1) return;
        if (Tracker.Visit.Irp.MajorFunction is not (IRP_MJ_PNP or IRP_MJ_POWER or IRP_MJ_SYSTEM_CONTROL)) return;
        NTSTATUS status = e.Irp.IoStatus.Status;
        if (status == NTSTATUS.STATUS_NOT_SUPPORTED || Tracker.Irp.Origin is null or IrpOrigin.Request or IrpOrigin.PlugAndPlay or IrpOrigin.Power) return;
        Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} sent {Tracker.Irp} with the status {status.Name}; it is to be STATUS_NOT_SUPPORTED.");
    }
}
