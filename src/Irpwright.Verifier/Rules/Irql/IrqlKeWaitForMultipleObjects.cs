namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="IwWaitAtDispatch"/>, for KeWaitForMultipleObjects (DPC-08).</summary>
/// <remarks>A wait with a zero timeout is allowed at DISPATCH_LEVEL, and below too: the page's "must" means "may".</remarks>
sealed class IrqlKeWaitForMultipleObjects : Rule, IWatch<WaitStarted>
{
    public static RuleInfo Definition { get; } = new(nameof(IrqlKeWaitForMultipleObjects), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeWaitForMultipleObjects)), Codes.Detected(0x00020017),
        "KeWaitForMultipleObjects is called at DISPATCH_LEVEL with a timeout other than zero, or above it.",
        static () => new IrqlKeWaitForMultipleObjects())
    {
        Instead = "At DISPATCH_LEVEL only look, with a timeout of zero; wait in a work item or a system thread.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL);
            """,
        Right = """
            timeout.QuadPart = 0;
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, &timeout, NULL);
            """,
    };

    public void On(in WaitStarted e)
    {
        if (IwWaitAtDispatch.IsForbidden(in e) && IwWaitAtDispatch.NameFor(Tracker, in e) == Info.Name)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, IwWaitAtDispatch.Sentence(Tracker, in e));
    }
}
