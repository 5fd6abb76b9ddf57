namespace Irpwright.Verification.Rules;

/// <summary>A DPC for a processor that does not exist is in no queue that is ever served.</summary>
sealed class IwDpcProcessorOutOfRange : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(IwDpcProcessorOutOfRange), RuleFamily.Object, Error,
        Pages.BugCheck("0xc7--timer-or-dpc-invalid"), new(BugCheckCode.TIMER_OR_DPC_INVALID, 3),
        "A driver calls KeSetTargetProcessorDpc with the number of a processor that the system does not have.",
        static () => new IwDpcProcessorOutOfRange())
    {
        Covers = ["BC-0xC7-0x3"],
        Instead = "Use a number below KeQueryActiveProcessorCount, or call KeSetTargetProcessorDpcEx and look at its status.",
        Wrong = "KeSetTargetProcessorDpc(&Dpc, 127);",
        Right = "KeSetTargetProcessorDpc(&Dpc, (CCHAR)(KeQueryActiveProcessorCount(NULL) - 1));",
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [KernelExports.KeSetTargetProcessorDpc];

    public void Called(in DdiCalled e)
    {
        byte number = (byte)e.Arguments[1];
        if (number < Processors.Count) return;
        Report(Tracker.Caller, default,
            $"{Tracker.Caller} called KeSetTargetProcessorDpc with processor {number}; the system has {Processors.Count}, counted from 0.");
    }
}
