namespace Irpwright.Verification.Rules;

/// <summary>Threaded IRPs are in their thread's list, and the I/O manager frees them (ALLOC-09, BUILD-13).</summary>
sealed class IoBuildDeviceControlNoFree : Rule, IWatch<IrpFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IoBuildDeviceControlNoFree), RuleFamily.Allocation, Error,
        Pages.Wdm(nameof(IoBuildDeviceControlNoFree)), Codes.Io(0x2),
        "A driver calls IoFreeIrp for an IRP from IoBuildDeviceIoControlRequest.",
        static () => new IoBuildDeviceControlNoFree())
    {
        Covers = ["DV-C9-0x20C"],
        Instead = "Send the IRP; the I/O manager frees it when it is completed.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoFreeIrp(irp);
            """,
        Right = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            status = IoCallDriver(lower, irp);
            """,
    };

    public void On(in IrpFreed e)
    {
        if (!Tracker.IsFreedByDriver || Tracker.Irp.Origin != IrpOrigin.Threaded) return;
        if (Tracker.Irp.LocationAt(e.Irp.StackCount).MajorFunction is (IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL))
            Report(Tracker.Caller, Tracker.Irp.Name,
                $"{Tracker.Caller} freed {Tracker.Irp}, made by IoBuildDeviceIoControlRequest: the I/O manager frees such IRPs when "
                    + "they complete.");
    }
}
