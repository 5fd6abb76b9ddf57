namespace Irpwright.Verification.Rules;

/// <summary>A driver reuses only IRPs that it allocated (REUSE-03).</summary>
sealed class IoReuseIrp2 : Rule, IWatch<IrpReused>
{
    public static RuleInfo Definition { get; } = new(nameof(IoReuseIrp2), RuleFamily.Reuse, Error,
        Pages.Wdm(nameof(IoReuseIrp2)), Codes.Io(0x310),
        "IoReuseIrp is called for an IRP that the driver received.",
        static () => new IoReuseIrp2())
    {
        Instead = "Complete IRPs that were received, or send them on; reuse only those that the driver allocated.",
        Wrong = """
            NTSTATUS DispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                IoReuseIrp(Irp, STATUS_SUCCESS);
            """,
        Right = """
            NTSTATUS DispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                IoReuseIrp(extension->OwnIrp, STATUS_SUCCESS);
            """,
    };

    public void On(in IrpReused e)
    {
        if (Tracker.Irp.Origin != IrpOrigin.Request) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} called IoReuseIrp for {Tracker.Irp}, a request that it received and did not allocate.");
    }
}
