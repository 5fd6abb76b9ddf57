namespace Irpwright.Verification.Rules;

/// <summary>Raising raises, and a routine lowers only what it has raised itself (IRQL-01, IRQL-02).</summary>
sealed class IrqlKeRaiseLower : Rule, IWatchCalls
{
    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.KfRaiseIrql, KernelExports.KeLowerIrql];

    public static RuleInfo Definition { get; } = new(nameof(IrqlKeRaiseLower), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeRaiseLower)), Codes.Detected(0x30),
        "KeRaiseIrql is given a lower IRQL than the current one; or KeLowerIrql a higher one, or one below that at which the routine was "
            + "called.",
        static () => new IrqlKeRaiseLower())
    {
        Covers = ["DV-C4-0x30", "DV-C4-0x31"],
        Instead = "Pair each KeLowerIrql with a KeRaiseIrql in the same routine, and give it the IRQL which that one returned.",
        Wrong = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
            {
                KeLowerIrql(PASSIVE_LEVEL); // to wait for something
            """,
        Right = """
            VOID Dpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
            {
                IoQueueWorkItem(Extension->Item, Work, DelayedWorkQueue, Extension);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Called(in DdiCalled e)
    {
        byte target = (byte)e.Arguments[0];
        bool raises = e.Export == KernelExports.KfRaiseIrql;
        string? why = raises
            ? target < e.Irql ? "which is lower" : target > HIGH_LEVEL ? "which there is not" : null
            : target > e.Irql ? "which is higher"
            : Tracker.Thread.Frame is { GotOtherIrql: false } frame && target < frame.Irql ? $"but was itself called at {frame.Irql}" : null;
        if (why is null) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} called {(raises ? "KeRaiseIrql" : "KeLowerIrql")} at IRQL {e.Irql} with {target}, {why}.");
    }
}
