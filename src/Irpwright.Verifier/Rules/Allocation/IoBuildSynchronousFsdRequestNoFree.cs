namespace Irpwright.Verification.Rules;

/// <summary>Threaded IRPs are in their thread's list, and the I/O manager frees them (ALLOC-09, BUILD-13).</summary>
sealed class IoBuildSynchronousFsdRequestNoFree : Rule, IWatch<IrpFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildSynchronousFsdRequestNoFree), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoBuildSynchronousFsdRequestNoFree)), Codes.Io(0x2),
        "A driver calls IoFreeIrp for an IRP from IoBuildSynchronousFsdRequest.",
        static () => new IoBuildSynchronousFsdRequestNoFree())
    {
        Covers = ["DV-C9-0x02"],
        Instead = "Send the IRP; the I/O manager frees it when it is completed.",
        Wrong = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, &event, &block);
            IoFreeIrp(irp);
            """,
        Right = """
            irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, lower, NULL, 0, NULL, &event, &block);
            status = IoCallDriver(lower, irp);
            """,
    };

    public void On(in IrpFreed e)
    {
        if (!Tracker.IsFreedByDriver || Tracker.Irp.Origin != IrpOrigin.Threaded) return;
        if (Tracker.Irp.LocationAt(e.Irp.StackCount).MajorFunction is not (IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL))
            Report(Tracker.Caller, Tracker.Irp.Name,
                $"{Tracker.Caller} freed {Tracker.Irp}, made by IoBuildSynchronousFsdRequest: the I/O manager frees such IRPs when "
                    + "they complete.");
    }
}
