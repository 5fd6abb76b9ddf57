namespace Irpwright.Verification.Rules;

/// <summary>At DISPATCH_LEVEL a wait must have a zero timeout, even if the object happens to be signalled (DPC-08).</summary>
sealed class IwWaitAtDispatch : Rule, IWatch<WaitStarted>
{
    public static RuleInfo Definition { get; } = new(nameof(IwWaitAtDispatch), RuleFamily.Irql, Error,
        Pages.Ddi("nf-wdm-kewaitforsingleobject"), Codes.Detected(0x3B),
        "A driver starts a wait that may block at DISPATCH_LEVEL or above, or any wait above DISPATCH_LEVEL.",
        static () => new IwWaitAtDispatch())
    {
        Covers = ["DV-C4-0x3B", "DV-C4-0x120", "DV-C4-0x121", "DV-C4-0x122"],
        Instead = "At DISPATCH_LEVEL only look, with a timeout of zero; wait in a work item or a system thread, or go on in a callback.",
        Wrong = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
            {
                KeWaitForSingleObject(&Extension->Idle, Executive, KernelMode, FALSE, NULL);
            """,
        Right = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context) // queued by the DPC
            {
                KeWaitForSingleObject(&Extension->Idle, Executive, KernelMode, FALSE, NULL);
            """,
    };

    public void On(in WaitStarted e)
    {
        if (IsForbidden(in e) && NameFor(Tracker, in e) == Info.Name)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, Sentence(Tracker, in e));
    }

    internal static bool IsForbidden(in WaitStarted e) => e.Thread.Irql >= (e.MayBlock ? DISPATCH_LEVEL : DISPATCH_LEVEL + 1);

    /// <summary>Which rule a wait at a bad IRQL breaks.</summary>
    internal static string NameFor(IrpTracker tracker, in WaitStarted e) =>
        tracker.Thread.Call.Export == KernelExports.KeWaitForMultipleObjects ? nameof(IrqlKeWaitForMultipleObjects)
        : IrpTracker.IsMutex(e.Object) ? nameof(IrqlKeWaitForMutexObject)
        : nameof(IwWaitAtDispatch);

    internal static string Sentence(IrpTracker tracker, in WaitStarted e) =>
        $"{tracker.Caller} waits at IRQL {e.Thread.Irql}; "
            + (e.MayBlock ? $"waits that may block need IRQL {APC_LEVEL} or below." : $"not even a look is allowed above IRQL {DISPATCH_LEVEL}.");
}
