namespace Irpwright.Verification.Rules;

/// <summary>The kernel stack of a thread that waits in user mode may be paged out.</summary>
sealed class IwUserWaitOnStack : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.KeWaitForSingleObject, KernelExports.KeWaitForMultipleObjects];

    public static RuleInfo Definition { get; } = new(nameof(IwUserWaitOnStack), RuleFamily.Lock, Error,
        Pages.Documentation + "devtest/28135-first-argument-to-kewaitforsingleobject", Codes.Detected(0x123),
        "A driver waits with WaitMode UserMode for an object that lies on its stack.",
        static () => new IwUserWaitOnStack())
    {
        Covers = ["DV-C4-0x123", "CA-28135"],
        Instead = "Wait with KernelMode, or keep the object in nonpaged pool.",
        Wrong = """
            KEVENT done;
            KeInitializeEvent(&done, NotificationEvent, FALSE);
            KeWaitForSingleObject(&done, Executive, UserMode, FALSE, NULL);
            """,
        Right = """
            KEVENT done;
            KeInitializeEvent(&done, NotificationEvent, FALSE);
            KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        bool isSingle = e.Export == KernelExports.KeWaitForSingleObject;
        if ((byte)e.Arguments[isSingle ? 2 : 4] != (byte)MODE.UserMode) return;
        if (isSingle) Check(e.Arguments[0]);
        else for (uint i = 0; i < Math.Min((uint)e.Arguments[0], MAXIMUM_WAIT_OBJECTS); i++) Check(new PPVOID(e.Arguments[1])[(int)i].Address);
    }

    void Check(ulong address)
    {
        KernelThread thread = Tracker.Thread.Thread;
        if (address - thread.StackLimit >= thread.StackBase - thread.StackLimit && address - thread.DpcStackLimit >= thread.DpcStackBase - thread.DpcStackLimit) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} waits with WaitMode UserMode for the object at {Format.Address(address)}, on its own stack, which may be paged out meanwhile.");
    }
}
