namespace Irpwright.Verification.Rules;

/// <summary>When the system goes to sleep, the paging device may be asleep already.</summary>
sealed class PowerDownAllocate : Rule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(PowerDownAllocate), RuleFamily.Power, Advice,
        Pages.Wdm(nameof(PowerDownAllocate)), null,
        "A function or filter driver allocates memory while it handles the request that takes the system from S0 to S1 to S5.",
        static () => new PowerDownAllocate())
    {
        Instead = "Allocate what the driver needs for it when the device is started.",
        Wrong = """
            case IRP_MN_SET_POWER:    /* to PowerSystemSleeping3 */
                context = ExAllocatePool2(POOL_FLAG_NON_PAGED, SIZE, TAG);
            """,
        Right = """
            case IRP_MN_START_DEVICE:
                context = ExAllocatePool2(POOL_FLAG_NON_PAGED, SIZE, TAG);
            """,
    };

    public IReadOnlyList<KernelExport> Calls { get; } = [.. KernelExports.All.Where(routine =>
        routine.SourceName.StartsWith("ExAllocatePool", StringComparison.Ordinal)
            || routine.SourceName.StartsWith("MmAllocate", StringComparison.Ordinal))];

    public void Called(in DdiCalled e)
    {
        if (Tracker.Thread.Frame?.Visit is not { } visit || visit.Below.IsNull || !visit.IsSetPower(POWER_STATE_TYPE.SystemPowerState)) return;
        if (visit.Parameters.Power.State.SystemState <= SYSTEM_POWER_STATE.PowerSystemWorking) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} called {e.Export.SourceName} while it handles {visit.Irp}, which takes the system to sleep.", (ulong)e.Export.Index);
    }
}
