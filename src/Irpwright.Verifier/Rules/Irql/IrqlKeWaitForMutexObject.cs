namespace Irpwright.Verification.Rules;

/// <summary>As <see cref="IwWaitAtDispatch"/>, for mutexes (DPC-08).</summary>
/// <inheritdoc cref="IrqlKeWaitForMultipleObjects"/>
sealed class IrqlKeWaitForMutexObject : Rule, IWatch<WaitStarted>
{
    public static RuleInfo Definition { get; } = new(nameof(IrqlKeWaitForMutexObject), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeWaitForMutexObject)), Codes.Detected(0x00020018),
        "KeWaitForMutexObject is called at DISPATCH_LEVEL with a timeout other than zero, or above it.",
        static () => new IrqlKeWaitForMutexObject())
    {
        Instead = "Acquire the mutex before the IRQL is raised; protect what DPCs use by a spin lock.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            KeWaitForMutexObject(&Extension->Mutex, Executive, KernelMode, FALSE, NULL);
            """,
        Right = """
            KeWaitForMutexObject(&Extension->Mutex, Executive, KernelMode, FALSE, NULL);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            """,
    };

    public void On(in WaitStarted e)
    {
        if (IwWaitAtDispatch.IsForbidden(in e) && IwWaitAtDispatch.NameFor(Tracker, in e) == Info.Name)
            Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default, IwWaitAtDispatch.Sentence(Tracker, in e));
    }
}
