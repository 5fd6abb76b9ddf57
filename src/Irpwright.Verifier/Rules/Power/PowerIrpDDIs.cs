namespace Irpwright.Verification.Rules;

/// <summary>Set-power requests may come at DISPATCH_LEVEL, and when the paging device sleeps.</summary>
sealed class PowerIrpDDIs : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(PowerIrpDDIs), RuleFamily.Power, Advice,
        Pages.Wdm(nameof(PowerIrpDDIs)), null,
        "A driver calls a routine that may be called at PASSIVE_LEVEL only while it handles a set-power request.",
        static () => new PowerIrpDDIs())
    {
        Instead = "Do it in a work item, or when the device is started.",
        Wrong = """
            case IRP_MN_SET_POWER:
                ZwSetValueKey(key, &name, 0, REG_DWORD, &state, sizeof(state));
            """,
        Right = """
            case IRP_MN_SET_POWER:
                extension->State = state;
                IoQueueWorkItem(extension->WorkItem, WriteState, DelayedWorkQueue, extension);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [.. KernelExports.All.Where(routine => routine.MaxIrql == PASSIVE_LEVEL)];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame?.Visit is not { } visit || !visit.Is(IRP_MJ_POWER, IRP_MN_SET_POWER)) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} called {e.Export.SourceName}, for PASSIVE_LEVEL only, while it handles {visit.Irp}.", (ulong)e.Export.Index);
    }
}
