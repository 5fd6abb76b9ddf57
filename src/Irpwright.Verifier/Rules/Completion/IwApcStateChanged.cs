namespace Irpwright.Verification.Rules;

/// <summary>Completion routines run in threads of others.</summary>
sealed class IwApcStateChanged : Rule, IWatch<CompletionRoutineReturned>
{
    public static RuleInfo Definition { get; } = new(nameof(IwApcStateChanged), RuleFamily.Completion, Error,
        Pages.Debugger("bug-check-0xc4--driver-verifier-detected-violation"), Codes.Detected(0xFB),
        "A completion routine returns with APCs disabled more or less often than when it was called.",
        static () => new IwApcStateChanged())
    {
        Covers = ["DV-C4-0xFB"],
        Instead = "Leave each critical or guarded region in the routine that entered it.",
        Wrong = """
            NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                KeEnterCriticalRegion();
                return STATUS_CONTINUE_COMPLETION;
            }
            """,
        Right = """
            NTSTATUS Done(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
            {
                KeEnterCriticalRegion();
                KeLeaveCriticalRegion();
                return STATUS_CONTINUE_COMPLETION;
            }
            """,
    };

    public Situation When => Situation.Unbalanced;

    public void On(in CompletionRoutineReturned e)
    {
        RoutineFrame frame = Tracker.Frame;
        uint now = Tracker.Thread.Thread.Object.CombinedApcDisable;
        if (now == frame.ApcDisable) return;
        Report(frame.Place, frame.Irp, $"{frame} changed how often APCs are disabled in the thread: 0x{frame.ApcDisable:X8} before, 0x{now:X8} now.");
    }
}
