namespace Irpwright.Verification.Rules;

/// <summary>An IRP has to come back before it is freed (ALLOC-09).</summary>
sealed class IwFreedInUse : Rule, IWatch<IrpFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedInUse), RuleFamily.Allocation, Error,
        Pages.IoVerification, Codes.Io(0x20B),
        "A driver calls IoFreeIrp for an IRP that a driver it was sent to still has.",
        static () => new IwFreedInUse())
    {
        Covers = ["DV-C9-0x20A", "DV-C9-0x20B"],
        Instead = "Free the IRP in its completion routine, or after that has run; cancel it with IoCancelIrp to have it back sooner.",
        Wrong = """
            IoCallDriver(lower, irp);
            IoFreeIrp(irp);
            """,
        Right = """
            NTSTATUS OwnIrpDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                IoFreeIrp(Irp);
                return STATUS_MORE_PROCESSING_REQUIRED;
            }
            """,
    };

    public void On(in IrpFreed e)
    {
        if (!Tracker.IsFreedByDriver) return;
        if (Tracker.Irp is not { Owner: { } owner, Origin: not (IrpOrigin.Request or IrpOrigin.Threaded) }) return;
        Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} freed {Tracker.Irp}, which {owner} still has.");
    }
}
