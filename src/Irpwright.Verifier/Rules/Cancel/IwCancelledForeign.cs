namespace Irpwright.Verification.Rules;

/// <summary>An IRP is cancelled by who created it, or by the I/O manager (CANCEL-14).</summary>
sealed class IwCancelledForeign : Rule, IWatch<IrpCancelled>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCancelledForeign), RuleFamily.Cancel, Error,
        Pages.Kernel("points-to-consider-when-canceling-irps"), null,
        "A driver calls IoCancelIrp for an IRP that it received, not one it created.",
        static () => new IwCancelledForeign())
    {
        Instead = "Complete an IRP that was received with STATUS_CANCELLED, or leave it alone; cancel only IRPs that the driver created.",
        Wrong = """
            IoCancelIrp(Irp);    /* received in a dispatch routine */
            """,
        Right = """
            IoCancelIrp(extension->OwnIrp);
            """,
    };

    public void On(in IrpCancelled e)
    {
        if (!Tracker.IsCancelledByDriver || Tracker.Known is not { Origin: IrpOrigin.Request } irp) return;
        Report(Tracker.Caller, irp.Name,
            $"{Tracker.Caller} cancelled {irp}, a request of the I/O manager. Only its requestor knows whether it is still wanted; "
                + "a driver completes it with STATUS_CANCELLED, or leaves it alone.");
    }
}
