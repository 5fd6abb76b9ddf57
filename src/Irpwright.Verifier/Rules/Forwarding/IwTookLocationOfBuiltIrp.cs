namespace Irpwright.Verification.Rules;

/// <summary>IoBuildXxx allocates exactly the target's locations (STK-09, BUILD-01).</summary>
sealed class IwTookLocationOfBuiltIrp : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwTookLocationOfBuiltIrp), RuleFamily.Forwarding, Error,
        Pages.Ddi("nf-wdm-iosetnextirpstacklocation"), null,
        "IoSetNextIrpStackLocation is used on an IRP of an IoBuildXxx routine, which has no spare location.",
        static () => new IwTookLocationOfBuiltIrp())
    {
        Instead = "Allocate the IRP with IoAllocateIrp and one location more, if the driver needs one of its own.",
        Wrong = """
            irp = IoBuildDeviceIoControlRequest(code, lower, NULL, 0, NULL, 0, FALSE, &event, &block);
            IoSetNextIrpStackLocation(irp);
            """,
        Right = """
            irp = IoAllocateIrp(lower->StackSize + 1, FALSE);
            IoSetNextIrpStackLocation(irp);
            """,
    };

    public Situation When => Situation.Originator | Situation.Built;

    public void On(in IrpForwarded e)
    {
        IrpRecord irp = Tracker.Irp;
        if (irp.Forwards != 1 || Tracker.Owner is not null) return;
        if (e.Irp.CurrentLocation >= irp.StackCount) return;
        Report(Tracker.Caller, irp.Name,
            $"{Tracker.Caller} took a stack location for itself in {irp}, which an IoBuildXxx routine made for the drivers below only: "
                + "they run out of locations.");
    }
}
