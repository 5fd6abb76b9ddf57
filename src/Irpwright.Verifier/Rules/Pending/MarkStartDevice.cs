namespace Irpwright.Verification.Rules;

/// <summary>A device starts when the drivers below have started it, which may take long.</summary>
sealed class MarkStartDevice : UnpendedRule
{
    public static RuleInfo Definition { get; } = new(nameof(MarkStartDevice), RuleFamily.Pending, Advice,
        Pages.Wdm(nameof(MarkStartDevice)), null,
        "A function or filter driver does not pend IRP_MN_START_DEVICE.",
        static () => new MarkStartDevice())
    {
        Instead = "Mark the IRP pending, send it down with a completion routine, and start the device from there.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);    /* IRP_MN_START_DEVICE */
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, QueueStart, DeviceObject, TRUE, TRUE, TRUE);
            IoCallDriver(lower, Irp);
            return STATUS_PENDING;
            """,
    };

    protected override string What => "IRP_MN_START_DEVICE";

    protected override bool Concerns(Visit visit) => visit is { Irp.MajorFunction: IRP_MJ_PNP, MinorFunction: IRP_MN_START_DEVICE };
}
