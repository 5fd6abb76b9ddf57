namespace Irpwright.Verification.Rules;

/// <summary>Every kernel routine has its range of IRQLs (IRQL-03). IoCallDriver and IoCompleteRequest have rules of their own.</summary>
sealed class IwCalledAtBadIrql : Rule, IWatch<DdiCalled>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCalledAtBadIrql), RuleFamily.Irql, Error,
        Pages.Kernel("managing-hardware-priorities"), null,
        "A kernel routine is called at an IRQL that its documentation does not allow.",
        static () => new IwCalledAtBadIrql());

    public void On(in DdiCalled e)
    {
        KernelExport routine = e.Export;
        if (e.Irql <= routine.MaxIrql && e.Irql >= routine.MinIrql) return;
        if (routine == KernelExports.IofCallDriver || routine == KernelExports.IofCompleteRequest) return;
        string allowed = routine.MinIrql == routine.MaxIrql ? $"{routine.MaxIrql} only"
            : e.Irql > routine.MaxIrql ? $"{routine.MaxIrql} or below"
            : $"{routine.MinIrql} or above";
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {routine.SourceName} at IRQL {e.Irql}; it may be called at IRQL {allowed}.", (ulong)routine.Index);
    }
}
