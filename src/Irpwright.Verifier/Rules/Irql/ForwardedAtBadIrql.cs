namespace Irpwright.Verification.Rules;

/// <summary>Forwarding at DISPATCH_LEVEL is for power, read, write and device control requests (CALL-12).</summary>
sealed class ForwardedAtBadIrql : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(ForwardedAtBadIrql), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(ForwardedAtBadIrql)), Codes.Io(0x23A),
        "A received IRP is sent on at DISPATCH_LEVEL with a major function whose dispatch routines need a lower IRQL.",
        static () => new ForwardedAtBadIrql())
    {
        Covers = ["DV-C9-0x23A"],
        Instead = "Send such requests at PASSIVE_LEVEL: release the lock first, or let a work item send them.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = IoCallDriver(Extension->LowerDevice, Irp); // IRP_MJ_CREATE
            KeReleaseSpinLock(&Extension->Lock, irql);
            """,
        Right = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            Extension->OpenCount++;
            KeReleaseSpinLock(&Extension->Lock, irql);
            status = IoCallDriver(Extension->LowerDevice, Irp);
            """,
    };

    public Situation When => Situation.Raised;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not null && IsBad(Tracker))
            Report(Tracker.Caller, Tracker.Irp.Name, Sentence(Tracker));
    }

    internal static bool IsBad(IrpTracker tracker) => tracker.Thread.Thread.Irql == DISPATCH_LEVEL
        && tracker.Visit.Irp.MajorFunction is not
            (IRP_MJ_POWER or IRP_MJ_READ or IRP_MJ_WRITE or IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL);

    internal static string Sentence(IrpTracker tracker) =>
        $"{tracker.Caller} sent {tracker.Irp} at DISPATCH_LEVEL; that is for power, read, write and device control requests.";
}
