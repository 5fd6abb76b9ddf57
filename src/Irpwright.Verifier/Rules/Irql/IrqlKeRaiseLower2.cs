namespace Irpwright.Verification.Rules;

/// <summary>Lowering restores what raising returned; raises nest (IRQL-02).</summary>
/// <remarks>Compiled drivers mostly write cr8 themselves. What is on the stack only counts while the IRQL is the one that it was raised to.</remarks>
sealed class IrqlKeRaiseLower2 : Rule, IWatchReturns, IWatchCalls, IWatch<ThreadEnded>
{
    /// <param name="Depth">How many routines were running.</param>
    readonly record struct Raise(byte Before, byte Now, int Depth);

    static readonly IReadOnlyList<KernelExport> Routines = [KernelExports.KfRaiseIrql, KernelExports.KeRaiseIrqlToDpcLevel, KernelExports.KeLowerIrql];

    readonly Dictionary<int, Stack<Raise>> raises = [];

    public static RuleInfo Definition { get; } = new(nameof(IrqlKeRaiseLower2), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(IrqlKeRaiseLower2)), null,
        "KeLowerIrql is given another IRQL than the one that was current before KeRaiseIrql or KeRaiseIrqlToDpcLevel.",
        static () => new IrqlKeRaiseLower2())
    {
        Instead = "Keep the IRQL that KeRaiseIrql returns, and pass it to KeLowerIrql.",
        Wrong = """
            KeRaiseIrql(DISPATCH_LEVEL, &irql); // called at APC_LEVEL
            KeInsertDeviceQueue(&DeviceObject->DeviceQueue, &entry);
            KeLowerIrql(PASSIVE_LEVEL);
            """,
        Right = """
            KeRaiseIrql(DISPATCH_LEVEL, &irql);
            KeInsertDeviceQueue(&DeviceObject->DeviceQueue, &entry);
            KeLowerIrql(irql);
            """,
    };

    public IReadOnlyList<KernelExport> Calls => Routines;

    public void Returned(in DdiReturned e)
    {
        if (e.Export == KernelExports.KeLowerIrql) return;
        if (!raises.TryGetValue(Tracker.Thread.Thread.Id, out Stack<Raise>? stack)) raises.Add(Tracker.Thread.Thread.Id, stack = new());
        // What lies there with a higher IRQL than before this raise was ended by other means.
        while (stack.TryPeek(out Raise ended) && ended.Now > (byte)e.Result) stack.Pop();
        stack.Push(new((byte)e.Result, e.Irql, Tracker.Thread.Depth));
    }

    public void Called(in DdiCalled e)
    {
        if (e.Export != KernelExports.KeLowerIrql || !raises.TryGetValue(Tracker.Thread.Thread.Id, out Stack<Raise>? stack)) return;
        while (stack.TryPeek(out Raise ended) && ended.Now > e.Irql) stack.Pop();
        // One that lowers what another routine has raised breaks IrqlKeRaiseLower.
        if (!stack.TryPeek(out Raise raise) || raise.Now != e.Irql || raise.Depth != Tracker.Thread.Depth) return;
        byte target = (byte)e.Arguments[0];
        if (target == e.Irql && target != raise.Before) return;
        stack.Pop();
        if (target == raise.Before) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} lowered the IRQL from {e.Irql} to {target}; it was {raise.Before} before it was raised.");
    }

    public void On(in ThreadEnded e) => raises.Remove(e.Thread.Id);
}
