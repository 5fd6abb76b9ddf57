namespace Irpwright.Verification.Rules;

/// <summary>
/// Every kernel routine has its range of IRQLs (IRQL-03). Those that a published rule names, IoCallDriver, IoCompleteRequest and waits
/// have rules of their own.
/// </summary>
sealed class IwCalledAtBadIrql : Rule, IWatch<DdiCalled>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCalledAtBadIrql), RuleFamily.Irql, Error,
        Pages.Kernel("managing-hardware-priorities"), Codes.Detected(0xE5),
        "A kernel routine is called at an IRQL that its documentation does not allow.",
        static () => new IwCalledAtBadIrql())
    {
        Covers =
        [
            "DV-C4-0xE5", "DV-C4-0x34", "DV-C4-0x36", "DV-C4-0x00020025", "BC-0x121-1", "BC-0x121-2", "BC-0x192", "DV-C4-0x70", "DV-C4-0x71", "DV-C4-0x72",
            "DV-C4-0x73", "DV-C4-0x74", "DV-C4-0x76", "DV-C4-0x78", "DV-C4-0x79", "DV-C4-0x7E", "DV-C1-0x30", "DV-C1-0x31",
        ],
        Instead = "Call it at an IRQL that its page allows: before the IRQL is raised or after it has been lowered, or from a work item.",
        Wrong = """
            KeAcquireSpinLock(&Extension->Lock, &irql);
            status = ZwQuerySystemInformation(SystemBasicInformation, &information, sizeof(information), NULL);
            """,
        Right = """
            status = ZwQuerySystemInformation(SystemBasicInformation, &information, sizeof(information), NULL);
            KeAcquireSpinLock(&Extension->Lock, &irql);
            """,
    };

    // Made when it is first asked, which is when the catalogue is complete.
    static class Named
    {
        internal static readonly ILookup<KernelExport, IrqlRule> Rules = RuleCatalog.All
            .Where(rule => rule.Family == RuleFamily.Irql).Select(rule => rule.Create()).OfType<IrqlRule>()
            .SelectMany(rule => rule.Calls.Select(export => (export, rule)))
            .ToLookup(pair => pair.export, pair => pair.rule);
    }

    public Situation When => Situation.Irregular;

    public void On(in DdiCalled e)
    {
        KernelExport routine = e.Export;
        if ((e.Irql <= routine.MaxIrql && e.Irql >= routine.MinIrql) || HasOther(in e)) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            IrqlRule.Sentence(Tracker.Caller, in e, routine.MinIrql, routine.MaxIrql), (ulong)routine.Index);
    }

    static bool HasOther(in DdiCalled e)
    {
        if (e.Export.SourceName is "IoCallDriver" or "PoCallDriver" or "IoCompleteRequest" or "KeWaitForSingleObject" or "KeWaitForMultipleObjects") return true;
        foreach (IrqlRule rule in Named.Rules[e.Export])
        {
            if (!rule.Allows(in e)) return true;
        }
        return false;
    }
}
