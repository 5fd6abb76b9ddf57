namespace Irpwright.Verification.Rules;

/// <summary>Whoever waits for an IRP without a limit hangs with the driver below.</summary>
abstract class UnboundedWait : Rule, IWatchCalls
{
    const int TimeoutArgument = 4;

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.KeWaitForSingleObject];

    public void Called(in DdiCalled e)
    {
        if (e.Arguments[TimeoutArgument] != 0 || Tracker.Thread.Sent is not { IsOwn: true, Result: NTSTATUS.STATUS_PENDING } sent) return;
        if (!Concerns(sent, e.Arguments[0])) return;
        if (Tracker.At(sent.Irp.Address) is not { IsInFlight: true } irp || irp.Name.Use != sent.Irp.Use) return;
        Report(Tracker.Caller, sent.Irp, $"{Tracker.Caller} waits without a limit for {sent.Irp}, which {irp.Owner} has.");
    }

    /// <summary>Whether the IRP and the wait are of the rule's kind.</summary>
    protected abstract bool Concerns(SentIrp sent, ulong awaited);

    /// <summary>A wait for the event of a threaded IRP.</summary>
    protected static bool IsForThreaded(SentIrp sent, ulong awaited, bool control) =>
        sent.Origin == IrpOrigin.Threaded && sent.UserEvent.Address == awaited
            && control == (sent.Irp.MajorFunction is IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL);
}
