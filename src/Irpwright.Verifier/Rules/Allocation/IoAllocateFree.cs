namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager's IRPs are completed, and freed by it (ALLOC-07, ALLOC-09).</summary>
sealed class IoAllocateFree : Rule, IWatch<IrpFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IoAllocateFree), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoAllocateFree)), Codes.Io(0x2),
        "A driver calls IoFreeIrp for an IRP that it received, not one it allocated.",
        static () => new IoAllocateFree())
    {
        Covers = ["IoBuildFsdFree"],
        Instead = "Complete IRPs that were received; free only those from IoAllocateIrp and IoBuildAsynchronousFsdRequest.",
        Wrong = """
            NTSTATUS DispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                IoFreeIrp(Irp);
                return STATUS_SUCCESS;
            }
            """,
        Right = """
            NTSTATUS DispatchRead(PDEVICE_OBJECT DeviceObject, PIRP Irp)
            {
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
                return STATUS_SUCCESS;
            }
            """,
    };

    public void On(in IrpFreed e)
    {
        if (!Tracker.IsFreedByDriver || Tracker.Irp.Origin != IrpOrigin.Request) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} freed {Tracker.Irp}, a request of the I/O manager that its requestor waits for. Complete it.");
    }
}
